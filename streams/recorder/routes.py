"""Which topics are recorded, and how. See this package's docstring for how to add one."""

from __future__ import annotations

from domain.redrive.dead_letters import DEAD_LETTER_TOPICS
from schemas import topics as t
from streams.recorder import aggregates, alerts, digests, email, failures, inbound, settlements, sms
from streams.recorder.rows import Route

ROUTES = (
    Route(t.ALERTS, alerts.alert_rows, alerts.SINKS, together="alerts"),
    Route(t.ALERT_COMMANDS, alerts.command_rows, alerts.SINKS, together="alerts"),
    Route(t.ESCALATIONS, alerts.escalation_rows, alerts.SINKS, together="alerts"),
    *(Route(lane, sms.request_rows, (sms.REQUESTS,)) for lane in t.SMS_LANES.values()),
    Route(t.SMS_INBOUND, inbound.inbound_rows, inbound.SINKS),
    Route(t.SMS_OUTCOMES, sms.outcome_rows, sms.SINKS),
    Route(t.UNIT_AGGREGATES, aggregates.bucket_rows, (aggregates.BUCKETS,)),
    Route(t.EMAIL_OUTCOMES, email.outcome_rows, email.SINKS),
    Route(t.PAGE_EMAILS, email.page_rows, email.SINKS),
    *(Route(topic, failures.dead_letter_rows, ()) for topic in DEAD_LETTER_TOPICS),
    Route(t.DIGEST_PROGRESS, digests.progress_rows, (digests.LEDGER,)),
    Route(t.DEAD_LETTER_SETTLEMENTS, settlements.settlement_rows, settlements.SINKS),
)
