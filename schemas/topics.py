"""Every topic, declared once: name, key, message types, partitions, retention and its one writer."""

from __future__ import annotations

from schemas import messages as m
from schemas.mail_topics import DIGEST_JOBS as DIGEST_JOBS
from schemas.mail_topics import DIGEST_PROGRESS as DIGEST_PROGRESS
from schemas.mail_topics import DIGEST_RUNS as DIGEST_RUNS
from schemas.mail_topics import EMAIL_DLQ as EMAIL_DLQ
from schemas.mail_topics import EMAIL_OUTCOMES as EMAIL_OUTCOMES
from schemas.mail_topics import EMAIL_REQUESTS as EMAIL_REQUESTS
from schemas.mail_topics import EMAIL_RETRIES as EMAIL_RETRIES
from schemas.mail_topics import PAGE_EMAILS as PAGE_EMAILS
from schemas.topic import DAY_MS, FOR_EVER, AnyTopic, Topic, Writer

READINGS: Topic[m.ReadingBatch] = Topic(
    name="readings",
    key="unit id",
    carries=m.ReadingBatch,
    writer=Writer.PRODUCERS,
    about="Batches of 1..n readings of one unit",
    retention_ms=30 * DAY_MS,
    max_message_bytes=4_194_304,
)
READINGS_DLQ: Topic[m.DeadReading] = Topic(
    name="readings-dlq",
    key="unit id",
    carries=m.DeadReading,
    writer=Writer.DETECTION,
    about="Records that could not be used, with the reason",
    retention_ms=FOR_EVER,
)
ALERTS: Topic[m.Alert] = Topic(
    name="alerts",
    key="unit id",
    carries=m.Alert,
    writer=Writer.DETECTION,
    about="Alerts triggered, escalated in severity, resolved",
    retention_ms=365 * DAY_MS,
)
ALERT_COMMANDS: Topic[m.Command] = Topic(
    name="alert-commands",
    key="unit id",
    carries=m.Command,
    writer=Writer.RELAY_AND_NOTIFICATIONS,
    about="Acknowledge, notify now, silence",
    # Longer than the longest silence: what one put off must find an acknowledgement that came meanwhile.
    retention_ms=35 * DAY_MS,
)
ESCALATIONS: Topic[m.Escalation] = Topic(
    name="escalations",
    key="unit id",
    carries=m.Escalation,
    writer=Writer.NOTIFICATIONS,
    about="The course of each alert's escalation: what is due, heard, missed, and the steps taken",
    retention_ms=365 * DAY_MS,
)
SMS_CRITICAL, SMS_WARNING, SMS_INFO = (
    Topic[m.SmsRequest](
        name=f"sms-{severity}",
        key="user id",
        carries=m.SmsRequest,
        writer=Writer.NOTIFICATIONS_AND_REDRIVES,
        about=f"The {severity} lane: one SMS to one person",
    )
    for severity in m.SEVERITIES
)
SMS_LANES = {
    m.Severity.CRITICAL: SMS_CRITICAL,
    m.Severity.WARNING: SMS_WARNING,
    m.Severity.INFO: SMS_INFO,
}
SMS_RETRIES: Topic[m.SmsReturn] = Topic(
    name="sms-retries",
    key="user id",
    carries=m.SmsReturn,
    writer=Writer.NOTIFICATIONS,
    about="What comes back later: failed attempts with error and due time, receipts that are overdue",
)
SMS_OUTCOMES: Topic[m.Outcome] = Topic(
    name="sms-outcomes",
    key="user id",
    carries=m.Outcome,
    writer=Writer.NOTIFICATIONS,
    about="Every decision about an SMS",
    retention_ms=365 * DAY_MS,
)
SMS_RECEIPTS: Topic[m.Receipt] = Topic(
    name="sms-receipts",
    key="user id",
    carries=m.Receipt,
    writer=Writer.API_AND_NOTIFICATIONS,
    about="The provider's webhooks by user: sent, finalized, replies",
)
SMS_INBOUND: Topic[m.InboundSms] = Topic(
    name="sms-inbound",
    key="event id",
    carries=m.InboundSms,
    writer=Writer.API_AND_NOTIFICATIONS,
    about="SMS that people sent us, as they came: replies, STOP and START",
)
SMS_DLQ: Topic[m.SmsDeadLetter | m.UnreadableRecord] = Topic(
    name="sms-dlq",
    key="user id",
    carries=m.SmsDeadLetter | m.UnreadableRecord,
    writer=Writer.NOTIFICATIONS,
    about="SMS that a person must look at",
    retention_ms=FOR_EVER,
)
OPERATOR_NOTICES: Topic[m.OperatorNotice] = Topic(
    name="operator-notices",
    key="organization id",
    carries=m.OperatorNotice,
    writer=Writer.NOTIFICATIONS,
    about="What whoever runs the installation must know at once",
    retention_ms=365 * DAY_MS,
)
DEAD_LETTER_SETTLEMENTS: Topic[m.DeadLetterSettled] = Topic(
    name="dead-letter-settlements",
    key="letter id (TOPIC/PARTITION/OFFSET)",
    carries=m.DeadLetterSettled,
    writer=Writer.RELAY,
    about="Which dead letters were sent again, by whom",
    compacted=True,
)
UNIT_AGGREGATES: Topic[m.AggregateBucket] = Topic(
    name="unit-aggregates",
    key="unit id",
    carries=m.AggregateBucket,
    writer=Writer.DETECTION,
    about="15-minute buckets with revision number",
    retention_ms=90 * DAY_MS,
)
UNIT_CONNECTIVITY: Topic[m.UnitConnectivity] = Topic(
    name="unit-silences",
    key="gateway, or a unit without one",
    carries=m.UnitConnectivity,
    writer=Writer.DETECTION,
    about="Units that went offline or came back, gathered by gateway",
)
ORGANIZATIONS: Topic[m.Organization] = Topic(
    name="organizations",
    key="organization id",
    carries=m.Organization,
    writer=Writer.RELAY,
    about="The newest terms of each organization; a tombstone deletes",
    compacted=True,
)
UNITS: Topic[m.UnitConfig] = Topic(
    name="units",
    key="unit id",
    carries=m.UnitConfig,
    writer=Writer.RELAY,
    about="The newest configuration of each unit; a tombstone deletes",
    compacted=True,
)
CONTACTS: Topic[m.Contact] = Topic(
    name="contacts",
    key="user id",
    carries=m.Contact,
    writer=Writer.RELAY,
    about="The newest version of each contact; a tombstone deletes",
    compacted=True,
)
DIGEST_PREFERENCES: Topic[m.DigestPreference] = Topic(
    name="digest-preferences",
    key="user id",
    carries=m.DigestPreference,
    writer=Writer.RELAY,
    about="Who gets which digest when; a tombstone deletes",
    compacted=True,
)

REDRIVE_TOPICS = (READINGS, *SMS_LANES.values(), EMAIL_REQUESTS, DIGEST_JOBS)
"""Where a dead letter goes when a person sends it again."""

TOPICS: tuple[AnyTopic, ...] = (
    READINGS,
    READINGS_DLQ,
    ALERTS,
    ALERT_COMMANDS,
    ESCALATIONS,
    SMS_CRITICAL,
    SMS_WARNING,
    SMS_INFO,
    SMS_RETRIES,
    SMS_OUTCOMES,
    SMS_RECEIPTS,
    SMS_INBOUND,
    SMS_DLQ,
    PAGE_EMAILS,
    OPERATOR_NOTICES,
    DEAD_LETTER_SETTLEMENTS,
    UNIT_AGGREGATES,
    UNIT_CONNECTIVITY,
    ORGANIZATIONS,
    UNITS,
    CONTACTS,
    DIGEST_PREFERENCES,
    DIGEST_RUNS,
    DIGEST_JOBS,
    DIGEST_PROGRESS,
    EMAIL_REQUESTS,
    EMAIL_RETRIES,
    EMAIL_OUTCOMES,
    EMAIL_DLQ,
)

CO_PARTITIONED: dict[str, tuple[AnyTopic, ...]] = {
    "detection": (READINGS, UNIT_CONNECTIVITY, UNIT_AGGREGATES),
    "notifications": (
        ALERTS,
        ALERT_COMMANDS,
        ESCALATIONS,
        *SMS_LANES.values(),
        SMS_RETRIES,
        SMS_RECEIPTS,
        SMS_INBOUND,
    ),
    "digests": (DIGEST_PREFERENCES, DIGEST_RUNS, DIGEST_JOBS, EMAIL_REQUESTS, EMAIL_RETRIES, PAGE_EMAILS),
}
"""By worker: the topics that it reads, or writes by partition number; they have the same number of partitions."""
