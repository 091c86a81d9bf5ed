"""Every message that flows through Kafka: frozen structs, JSON on the wire, the `type` field tells which.

Times are integers, milliseconds since 1970-01-01 UTC, in fields named `*_at_ms`. Temperatures are degrees Celsius in
fields named `*_c`. Ids are strings. `schemas/topics.py` says which topic carries what.
"""

from __future__ import annotations

import msgspec

from schemas.messages.aggregates import (
    AggregateBucket,
)
from schemas.messages.alerts import (
    Acknowledge,
    Alert,
    AlertCommand,
    AlertEvent,
    AlertResolved,
    AlertTriggered,
    Command,
    NotifyNow,
    SeverityRaised,
    Silence,
)
from schemas.messages.configuration import (
    Cadence,
    Contact,
    DigestPreference,
    Limit,
    MaintenanceWindow,
    Rule,
    UnitConfig,
)
from schemas.messages.dead_letters import (
    DeadLetterSettled,
)
from schemas.messages.digests import (
    PROGRESS,
    DigestDeadLetter,
    DigestDue,
    DigestProgress,
    DigestRun,
    DigestStatus,
    DigestWanted,
    LocalDate,
    SendDigestNow,
)
from schemas.messages.email import (
    EmailCancelled,
    EmailDead,
    EmailDeadLetter,
    EmailFailed,
    EmailOutcome,
    EmailRequest,
    EmailRetry,
    EmailRetryScheduled,
    EmailSending,
    EmailSent,
    EmailUnknown,
    MailOutcome,
)
from schemas.messages.escalations import (
    Escalation,
    EscalationDue,
    EscalationEnded,
    EscalationEvent,
    EscalationStepped,
    SmsHeard,
    SmsMissed,
)
from schemas.messages.fields import (
    AtMs,
    Celsius,
    Id,
)
from schemas.messages.readings import (
    DeadLetterReason,
    DeadReading,
    Reading,
    ReadingBatch,
)
from schemas.messages.severity import (
    SEVERITIES,
    AlertKind,
    Severity,
)
from schemas.messages.silences import (
    UnitHeard,
    UnitSilence,
    UnitSilent,
)
from schemas.messages.sms import (
    DeliveryReceipt,
    InboundReply,
    Outcome,
    Receipt,
    ReceiptDue,
    SmsCancelled,
    SmsDead,
    SmsDeadLetter,
    SmsDelivered,
    SmsFailed,
    SmsOptedOut,
    SmsOutcome,
    SmsRateLimited,
    SmsReceipt,
    SmsRequest,
    SmsRetry,
    SmsRetryScheduled,
    SmsReturn,
    SmsSending,
    SmsSent,
    SmsUnconfirmed,
    SmsUnknown,
)
from schemas.messages.unreadable import (
    UnreadableRecord,
)

encode = msgspec.json.Encoder().encode

__all__ = [
    "PROGRESS",
    "SEVERITIES",
    "Acknowledge",
    "AggregateBucket",
    "Alert",
    "AlertCommand",
    "AlertEvent",
    "AlertKind",
    "AlertResolved",
    "AlertTriggered",
    "AtMs",
    "Cadence",
    "Celsius",
    "Command",
    "Contact",
    "DeadLetterReason",
    "DeadLetterSettled",
    "DeadReading",
    "DeliveryReceipt",
    "DigestDeadLetter",
    "DigestDue",
    "DigestPreference",
    "DigestProgress",
    "DigestRun",
    "DigestStatus",
    "DigestWanted",
    "EmailCancelled",
    "EmailDead",
    "EmailDeadLetter",
    "EmailFailed",
    "EmailOutcome",
    "EmailRequest",
    "EmailRetry",
    "EmailRetryScheduled",
    "EmailSending",
    "EmailSent",
    "EmailUnknown",
    "Escalation",
    "EscalationDue",
    "EscalationEnded",
    "EscalationEvent",
    "EscalationStepped",
    "Id",
    "InboundReply",
    "Limit",
    "LocalDate",
    "MailOutcome",
    "MaintenanceWindow",
    "NotifyNow",
    "Outcome",
    "Reading",
    "ReadingBatch",
    "Receipt",
    "ReceiptDue",
    "Rule",
    "SendDigestNow",
    "Severity",
    "SeverityRaised",
    "Silence",
    "SmsCancelled",
    "SmsDead",
    "SmsDeadLetter",
    "SmsDelivered",
    "SmsFailed",
    "SmsHeard",
    "SmsMissed",
    "SmsOptedOut",
    "SmsOutcome",
    "SmsRateLimited",
    "SmsReceipt",
    "SmsRequest",
    "SmsRetry",
    "SmsRetryScheduled",
    "SmsReturn",
    "SmsSending",
    "SmsSent",
    "SmsUnconfirmed",
    "SmsUnknown",
    "UnitConfig",
    "UnitHeard",
    "UnitSilence",
    "UnitSilent",
    "UnreadableRecord",
    "encode",
]
