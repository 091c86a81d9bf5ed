"""Where the rows of every worker's tables belong, for `topics grow`, which moves them.

A row lies beside the records of a key, and that key decides its partition. Each table is listed here with how its rows
tell that key, and with the place in its values of the offset that they contain, if it is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from broker.growth.layout import Layout, TableLayout, WorkerLayout
from schemas import topics as t

if TYPE_CHECKING:
    from schemas.topic import AnyTopic

_decode = msgspec.msgpack.Decoder(list[Any]).decode
_ESCALATION_ALERT = 3
_TIMER_KEY = 3
_LEDGER_OF_USER = {b"w", b"t"}


def _whole(key: bytes, _: bytes) -> bytes:
    """Unit, group or user."""
    return key


def _unit_of_bucket(key: bytes, _: bytes) -> bytes:
    return key.rpartition(b"|")[0]


def key_of_timer(_: bytes, value: bytes) -> bytes:
    """What a timer publishes has the key of the record that set it."""
    key: bytes = _decode(value)[_TIMER_KEY]
    return key


def _unit_of_escalation(_: bytes, value: bytes) -> bytes | None:
    """The row is keyed by alert, and names the unit while it has the alert."""
    alert = _decode(value)[_ESCALATION_ALERT]
    return None if alert is None else str(alert["unit_id"]).encode()


def _user_of_ledger(key: bytes, _: bytes) -> bytes | None:
    """Windows and notices name the user; requests do not, and each partition keeps its own hourly caps."""
    return key[1:].partition(b"|")[0] if key[:1] in _LEDGER_OF_USER else None


def _untold(_: bytes, __: bytes) -> None:
    """Keyed by request."""


def _names(topics: tuple[AnyTopic, ...]) -> tuple[str, ...]:
    return tuple(topic.name for topic in topics)


WRITTEN_BY_NUMBER = (t.UNIT_AGGREGATES,)
READINGS, PREFERENCES = t.READINGS.name, t.DIGEST_PREFERENCES.name
TABLES = {
    "detection": (
        TableLayout("unit-states", _whole, counts_in=READINGS),
        TableLayout("unit-buckets", _unit_of_bucket, counts_in=READINGS),
        TableLayout("unit-groups", _whole, counts_in=t.UNIT_CONNECTIVITY.name),
    ),
    "notifications": (
        TableLayout("sms-ledger", _user_of_ledger),
        TableLayout("sms-timers", key_of_timer),
        TableLayout("escalations", _unit_of_escalation),
    ),
    "digests": (
        TableLayout("digest-plans", _whole, counts_in=PREFERENCES, offset_at=1),
        TableLayout("digest-timers", key_of_timer),
        TableLayout("email-ledger", _untold),
    ),
}
RECORDED = (
    t.ALERTS,
    t.ALERT_COMMANDS,
    t.ESCALATIONS,
    *t.SMS_LANES.values(),
    t.SMS_OUTCOMES,
    t.SMS_INBOUND,
    t.UNIT_AGGREGATES,
    t.EMAIL_OUTCOMES,
    t.PAGE_EMAILS,
    t.DIGEST_PROGRESS,
    t.READINGS_DLQ,
    t.SMS_DLQ,
    t.EMAIL_DLQ,
)
LAYOUT = Layout(
    workers=tuple(
        WorkerLayout(
            name,
            reads=_names(tuple(topic for topic in t.CO_PARTITIONED[name] if topic not in WRITTEN_BY_NUMBER)),
            tables=tables,
            writes=_names(tuple(topic for topic in t.CO_PARTITIONED[name] if topic in WRITTEN_BY_NUMBER)),
        )
        for name, tables in TABLES.items()
    ),
    drained={"recorder": _names(RECORDED)},
    compacted=frozenset(topic.name for topic in t.TOPICS if topic.compacted),
)
