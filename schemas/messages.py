"""Every message that flows through Kafka: frozen structs, JSON on the wire, the `type` field tells which.

Times are integers, milliseconds since 1970-01-01 UTC, in fields named `*_at_ms`. Temperatures are degrees Celsius in
fields named `*_c`. Ids are strings. `schemas/topics.py` says which topic carries what.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

Id = Annotated[str, Meta(min_length=1, max_length=200, description="An identifier; never a phone number or an address")]
AtMs = Annotated[int, Meta(description="Milliseconds since 1970-01-01 UTC")]
Celsius = Annotated[float, Meta(description="Degrees Celsius")]


class Severity(StrEnum):
    """How urgent an alert is; each severity has its own SMS lane."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 is the most urgent."""
        return SEVERITIES.index(self)

    def admits(self, other: Severity) -> bool:
        """Whether someone who wants at least `self` is told of `other`."""
        return other.rank <= self.rank


SEVERITIES = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)


class AlertKind(StrEnum):
    """The alert type: the rate limit allows one SMS per user and kind in its window."""

    TEMPERATURE_HIGH = "temperature_high"
    TEMPERATURE_LOW = "temperature_low"
    SENSOR_OFFLINE = "sensor_offline"
    GATEWAY_OFFLINE = "gateway_offline"


class Reading(Struct, frozen=True, gc=False):
    """One measurement; the time is the device's own clock."""

    at_ms: AtMs
    temperature_c: Celsius


class ReadingBatch(Struct, frozen=True):
    """1..n readings of one unit, as a gateway sends them; the record's key is the unit id."""

    unit_id: Id
    readings: list[Reading]


class Limit(StrEnum):
    HIGH = "high"
    LOW = "low"


class Rule(Struct, frozen=True, kw_only=True):
    """One threshold of a unit. Exactly at the limit is within it."""

    rule_id: Id
    limit: Limit
    severity: Severity
    limit_c: Celsius
    clear_c: Annotated[
        Celsius | None,
        Meta(description="Hysteresis: a breach ends at or inside this temperature; the limit itself when null"),
    ] = None
    confirm_s: Annotated[int, Meta(ge=0, description="A breach must last this long, in event time")] = 0
    recover_readings: Annotated[int, Meta(ge=1, description="Readings inside the clear limit that end a breach")] = 1


class MaintenanceWindow(Struct, frozen=True):
    """Defrost, cleaning: paging is silent, the record goes on. Start included, end not."""

    starts_at_ms: AtMs
    ends_at_ms: AtMs


class UnitConfig(Struct, frozen=True, kw_only=True):
    """A fridge, freezer or truck; key: unit id."""

    unit_id: Id
    organization_id: Id
    organization_name: str = ""
    name: str
    display_unit: Annotated[str, Meta(pattern="^[CF]$", description="Temperatures are shown in °C or °F")] = "C"
    gateway_id: Id | None = None
    rules: tuple[Rule, ...] = ()
    expected_interval_s: Annotated[int, Meta(ge=1)] = 300
    offline_after_missed: Annotated[int, Meta(ge=1, description="Missed intervals until sensor_offline")] = 3
    live_window_s: Annotated[int, Meta(ge=1, description="Older readings update aggregates and never page")] = 900
    maintenance: tuple[MaintenanceWindow, ...] = ()


class Contact(Struct, frozen=True, kw_only=True):
    """A person who is told; key: user id."""

    user_id: Id
    organization_id: Id
    name: str
    phone_e164: Annotated[str, Meta(pattern=r"^\+[1-9]\d{1,14}$")] | None = None
    email: str | None = None
    minimum_severity: Severity = Severity.WARNING
    on_duty: bool = True
    escalation_level: Annotated[int, Meta(ge=1, description="Told first at level 1; later levels by escalation")] = 1
    sms_opted_out: bool = False


class Cadence(StrEnum):
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


class DigestPreference(Struct, frozen=True, kw_only=True):
    """When a user gets which summary; key: user id."""

    user_id: Id
    organization_id: Id
    cadences: tuple[Cadence, ...] = (Cadence.DAILY,)
    timezone: str = "UTC"
    hour: Annotated[int, Meta(ge=0, le=23)] | None = None
    display_unit: Annotated[str, Meta(pattern="^[CF]$")] = "C"
    paused: bool = False


class AlertEvent(Struct, frozen=True, kw_only=True, tag_field="type"):
    """What happened to one alert; key: unit id. `alert_id` is a UUIDv5 of (unit, rule, start of the breach)."""

    alert_id: Id
    unit_id: Id
    organization_id: Id
    rule_id: Id
    kind: AlertKind
    severity: Severity
    started_at_ms: AtMs
    at_ms: AtMs
    temperature_c: Celsius | None = None
    limit_c: Celsius | None = None


class AlertTriggered(AlertEvent, frozen=True, kw_only=True, tag="triggered"):
    """A breach was confirmed. `paging` is false when a maintenance window or an inhibition keeps it silent."""

    paging: bool = True
    silent_because: str | None = None


class AlertEscalated(AlertEvent, frozen=True, kw_only=True, tag="severity_escalated"):
    """A silent or inhibited alert began to page, or its severity rose."""

    former_severity: Severity


class AlertResolved(AlertEvent, frozen=True, kw_only=True, tag="resolved"):
    """The breach ended: `at_ms` is the reading that ended it, `extreme_c` the worst temperature seen."""

    extreme_c: Celsius | None = None
    because: str = "recovered"


Alert = AlertTriggered | AlertEscalated | AlertResolved


class AlertCommand(Struct, frozen=True, kw_only=True, tag_field="type"):
    """What a person orders about an alert; key: unit id."""

    alert_id: Id
    unit_id: Id
    organization_id: Id
    user_id: Id
    at_ms: AtMs


class Acknowledge(AlertCommand, frozen=True, kw_only=True, tag="acknowledge"):
    via: str = "api"


class NotifyNow(AlertCommand, frozen=True, kw_only=True, tag="notify_now"):
    pass


class Silence(AlertCommand, frozen=True, kw_only=True, tag="silence"):
    until_at_ms: AtMs


Command = Acknowledge | NotifyNow | Silence


class SmsRequest(Struct, frozen=True, kw_only=True, tag_field="type", tag="sms"):
    """One SMS to one person; key: user id. `request_id` is a UUIDv5 of (alert, user, escalation level).

    The phone number is not here: it is looked up among the contacts when the message leaves.
    """

    request_id: Id
    alert_id: Id
    unit_id: Id
    organization_id: Id
    user_id: Id
    kind: AlertKind
    severity: Severity
    level: Annotated[int, Meta(ge=1)] = 1
    text: Annotated[str, Meta(min_length=1, max_length=1600)]
    breach_at_ms: AtMs
    requested_at_ms: AtMs
    attempts: Annotated[int, Meta(ge=0, description="Attempts that were made and failed before this record")] = 0
    redrives: Annotated[int, Meta(ge=0, description="How often a person sent it again from the dead letters")] = 0


class SmsOutcome(Struct, frozen=True, kw_only=True, tag_field="type"):
    """A decision about one SMS; key: user id."""

    request_id: Id
    alert_id: Id
    organization_id: Id
    user_id: Id
    kind: AlertKind
    severity: Severity
    attempt: Annotated[int, Meta(ge=0)]
    at_ms: AtMs


class SmsSending(SmsOutcome, frozen=True, kw_only=True, tag="sending"):
    """Written to the ledger before the request leaves, so that a crash in between is seen."""

    attempt_id: Id


class SmsSent(SmsOutcome, frozen=True, kw_only=True, tag="sent"):
    """The provider accepted it. That is not yet delivered."""

    provider_message_id: str
    parts: int
    breach_at_ms: AtMs
    latency_ms: Annotated[int, Meta(description="From the arrival of the request to the provider's answer")]


class SmsDelivered(SmsOutcome, frozen=True, kw_only=True, tag="delivered"):
    provider_message_id: str


class SmsFailed(SmsOutcome, frozen=True, kw_only=True, tag="failed"):
    """An attempt failed; `retry_scheduled`, `dead` or a later success follows."""

    error_code: str
    error: str


class SmsRateLimited(SmsOutcome, frozen=True, kw_only=True, tag="rate_limited"):
    """Not sent: an earlier SMS of the same kind to the same user was. Logged, not retried."""

    until_at_ms: AtMs
    by_request_id: Id


class SmsRetryScheduled(SmsOutcome, frozen=True, kw_only=True, tag="retry_scheduled"):
    due_at_ms: AtMs
    error_code: str


class SmsOptedOut(SmsOutcome, frozen=True, kw_only=True, tag="opted_out"):
    pass


class SmsUnknown(SmsOutcome, frozen=True, kw_only=True, tag="unknown"):
    """A request left and no answer came: it waits for a receipt before it may be sent again."""

    attempt_id: Id


class SmsDead(SmsOutcome, frozen=True, kw_only=True, tag="dead"):
    """Given up; the request lies in `sms-dlq`."""

    reason: str
    error_code: str


Outcome = (
    SmsSending
    | SmsSent
    | SmsDelivered
    | SmsFailed
    | SmsRateLimited
    | SmsRetryScheduled
    | SmsOptedOut
    | SmsUnknown
    | SmsDead
)


class SmsRetry(Struct, frozen=True, kw_only=True, tag_field="type", tag="sms_retry"):
    """A failed attempt that waits for its due time; key: user id."""

    request: SmsRequest
    attempt: Annotated[int, Meta(ge=0, description="Attempts used up so far; a deferral uses none")]
    due_at_ms: AtMs
    error_code: str
    error: str


class SmsReceipt(Struct, frozen=True, kw_only=True, tag_field="type"):
    """A webhook of the SMS provider; key: user id."""

    event_id: Id
    user_id: Id
    occurred_at_ms: AtMs


class DeliveryReceipt(SmsReceipt, frozen=True, kw_only=True, tag="delivery"):
    request_id: Id
    attempt_id: Id
    provider_message_id: str
    status: str
    error_code: str | None = None


class InboundReply(SmsReceipt, frozen=True, kw_only=True, tag="inbound"):
    text: Annotated[str, Meta(max_length=1600)]


Receipt = DeliveryReceipt | InboundReply


class AggregateBucket(Struct, frozen=True, kw_only=True):
    """A unit's numbers of one 15-minute bucket in event time; key: unit id. A later revision replaces an earlier."""

    unit_id: Id
    organization_id: Id
    starts_at_ms: AtMs
    revision: Annotated[int, Meta(ge=1)]
    count: Annotated[int, Meta(ge=0)]
    sum_c: float
    min_c: Celsius | None
    max_c: Celsius | None
    first_c: Celsius | None
    last_c: Celsius | None
    above_s: Annotated[float, Meta(ge=0, description="Time above the high limit")]
    below_s: Annotated[float, Meta(ge=0, description="Time below the low limit")]
    covered_s: Annotated[float, Meta(ge=0, description="Time that readings vouch for; the rest is not graded")]
    mkt_seconds: Annotated[float, Meta(description="Seconds in the mean kinetic temperature's sum")] = 0.0
    mkt_sum: Annotated[float, Meta(description="Sum of exp(-dH/RT) times seconds")] = 0.0
    excursions: Annotated[int, Meta(ge=0, description="Excursions that began in the bucket")] = 0
    first_at_ms: AtMs | None = None
    last_at_ms: AtMs | None = None
    high_c: Annotated[Celsius | None, Meta(description="The limit that `above_s` is measured against")] = None
    low_c: Annotated[Celsius | None, Meta(description="The limit that `below_s` is measured against")] = None


class DeadLetterReason(StrEnum):
    """Why a record of `readings` could not be used."""

    NULL_VALUE = "null_value"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    WRONG_SHAPE = "wrong_shape"
    EMPTY_BATCH = "empty_batch"
    MISSING_KEY = "missing_key"
    KEY_MISMATCH = "key_mismatch"
    NOT_FINITE = "not_finite"
    IMPOSSIBLE_TEMPERATURE = "impossible_temperature"
    IMPOSSIBLE_TIME = "impossible_time"
    FUTURE_TIME = "future_time"
    UNKNOWN_UNIT = "unknown_unit"


class DeadReading(Struct, frozen=True, kw_only=True, tag_field="type", tag="dead_reading"):
    """A record of `readings`, or some readings of it, that could not be used; key: the record's own key."""

    reason: DeadLetterReason
    detail: Annotated[str, Meta(description="The value, the rule that it breaks, and the way out")]
    topic: str
    partition: int
    offset: int
    at_ms: AtMs
    value_base64: Annotated[str | None, Meta(description="The start of the record as it came, 64 KiB at most")] = None
    value_bytes: Annotated[int, Meta(ge=0, description="The record's full size")] = 0
    readings: Annotated[tuple[Reading, ...], Meta(description="The refused readings, where only some were")] = ()


class SmsDeadLetter(Struct, frozen=True, kw_only=True, tag_field="type", tag="sms_dead"):
    """An SMS that a person must look at; key: user id."""

    request: SmsRequest
    attempts: Annotated[int, Meta(ge=0)]
    reason: str
    error_code: str
    error: str
    at_ms: AtMs


class UnreadableRecord(Struct, frozen=True, kw_only=True, tag_field="type", tag="unreadable"):
    """A record of one of our own topics that could not be decoded; key: the record's own key."""

    topic: str
    partition: int
    offset: int
    at_ms: AtMs
    detail: str
    value_base64: str | None = None


encode = msgspec.json.Encoder().encode
