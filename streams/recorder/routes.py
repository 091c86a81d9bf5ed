"""Which topics are recorded, and how. See this package's docstring for how to add one."""

from __future__ import annotations

from schemas import topics as t
from streams.recorder import aggregates, alerts, digests, failures, settlements, sms
from streams.recorder.rows import Route

ROUTES = (
    Route(t.ALERTS, alerts.alert_rows, alerts.SINKS, together="alerts"),
    Route(t.ALERT_COMMANDS, alerts.command_rows, alerts.SINKS, together="alerts"),
    Route(t.ESCALATIONS, alerts.escalation_rows, alerts.SINKS, together="alerts"),
    Route(t.SMS_OUTCOMES, sms.outcome_rows, sms.SINKS),
    Route(t.UNIT_AGGREGATES, aggregates.bucket_rows, (aggregates.BUCKETS,)),
    Route(t.SMS_DLQ, failures.dead_sms_rows, ()),
    Route(t.READINGS_DLQ, failures.dead_reading_rows, ()),
    Route(t.DIGEST_PROGRESS, digests.progress_rows, (digests.LEDGER,)),
    Route(t.EMAIL_DLQ, digests.dead_email_rows, ()),
    Route(t.DEAD_LETTER_SETTLEMENTS, settlements.settlement_rows, settlements.SINKS),
)
