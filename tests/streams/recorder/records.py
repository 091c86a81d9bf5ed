"""Records of the topics that the recorder reads, and a flow of it without a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec
from sqlalchemy import text

from schemas import messages as m
from schemas.headers import content_id
from streams.recorder.availability import Availability
from streams.recorder.counts import Counts
from streams.recorder.outcomes_to_sql import Recorder
from streams.recorder.routes import ROUTES
from streams.recorder.rows import Incoming

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from schemas.topic import AnyTopic
    from streams.engine.consumer import Batch

NOW_MS = 1_764_000_000_123


def triggered(alert_id: str = "a1", **fields: Any) -> m.AlertTriggered:
    return m.AlertTriggered(**(alert_fields(alert_id) | {"temperature_c": 9.5, "limit_c": 8.0} | fields))


def escalated(alert_id: str = "a1", **fields: Any) -> m.SeverityRaised:
    about = alert_fields(alert_id) | {"severity": m.Severity.CRITICAL, "former_severity": m.Severity.WARNING}
    return m.SeverityRaised(**(about | {"at_ms": NOW_MS + 60_000} | fields))


def resolved(alert_id: str = "a1", **fields: Any) -> m.AlertResolved:
    return m.AlertResolved(**(alert_fields(alert_id) | {"at_ms": NOW_MS + 90_000, "extreme_c": 11.0} | fields))


def alert_fields(alert_id: str) -> dict[str, Any]:
    return {
        "alert_id": alert_id,
        "unit_id": "u1",
        "organization_id": "acme",
        "rule_id": "high",
        "kind": m.AlertKind.TEMPERATURE_HIGH,
        "severity": m.Severity.WARNING,
        "started_at_ms": NOW_MS - 1_000,
        "at_ms": NOW_MS,
    }


def acknowledge(alert_id: str = "a1", user_id: str = "ada", at_ms: int = NOW_MS + 5_000) -> m.Acknowledge:
    return m.Acknowledge(
        alert_id=alert_id, unit_id="u1", organization_id="acme", user_id=user_id, at_ms=at_ms, via="sms"
    )


def outcome(of: type[m.SmsOutcome], **fields: Any) -> m.SmsOutcome:
    about: dict[str, Any] = {
        "request_id": "r1",
        "alert_id": "a1",
        "organization_id": "acme",
        "user_id": "ada",
        "kind": m.AlertKind.TEMPERATURE_HIGH,
        "severity": m.Severity.CRITICAL,
        "attempt": 1,
        "at_ms": NOW_MS,
    }
    return of(**(about | fields))


def bucket(unit_id: str = "u1", revision: int = 1, count: int = 15, starts_at_ms: int = 900_000) -> m.AggregateBucket:
    return m.AggregateBucket(
        unit_id=unit_id,
        organization_id="acme",
        starts_at_ms=starts_at_ms,
        revision=revision,
        count=count,
        sum_c=4.0 * count,
        min_c=3.0,
        max_c=5.0,
        first_c=4.0,
        last_c=4.5,
        above_s=0.0,
        below_s=0.0,
        covered_s=900.0,
        first_at_ms=starts_at_ms + 1,
        last_at_ms=starts_at_ms + 899_999,
        high_c=8.0,
    )


def dead_sms(request_id: str = "r1", **fields: Any) -> m.SmsDeadLetter:
    request = m.SmsRequest(
        request_id=request_id,
        alert_id="a1",
        unit_id="u1",
        organization_id="acme",
        user_id="ada",
        kind=m.AlertKind.TEMPERATURE_HIGH,
        severity=m.Severity.CRITICAL,
        text="Fridge 1 is at 9.5 C",
        breach_at_ms=NOW_MS,
        requested_at_ms=NOW_MS,
        redrives=1,
    )
    about: dict[str, Any] = {
        "attempts": 3,
        "reason": "exhausted",
        "error_code": "50000",
        "error": "the provider failed",
    }
    return m.SmsDeadLetter(**(about | {"request": request, "at_ms": NOW_MS} | fields))


def settlement(letter_id: str, by: str = "ada") -> m.DeadLetterSettled:
    return m.DeadLetterSettled(
        letter_id=letter_id, by=by, at_ms=NOW_MS, sent_to="sms-critical", message_id="r1.2", redrives=2
    )


class Record(msgspec.Struct):
    """As the broker gives it."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    key: bytes | None = b"u1"
    timestamp: int = NOW_MS
    headers: tuple[tuple[str, bytes], ...] = ()


class FakeBatch:
    """A batch whose partition leaves as soon as `leaving` says so."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.topic = records[0].topic
        self.partition = records[0].partition
        self.leaving = False

    def part(self, records: Sequence[Record]) -> FakeBatch:
        return FakeBatch(records)

    def must_end(self) -> bool:
        return self.leaving

    def still_ours(self) -> bool:
        return True


def records_of(
    topic: AnyTopic, *values: msgspec.Struct | bytes | None, first: int = 0, partition: int = 0
) -> list[Record]:
    return [
        Record(topic.name, partition, first + number, m.encode(value) if isinstance(value, msgspec.Struct) else value)
        for number, value in enumerate(values)
    ]


def identified(records: Sequence[Record]) -> Sequence[Record]:
    """With the headers that workers set: what says the same has the same id."""
    for record in records:
        value = record.value or b"{}"
        tag = msgspec.json.decode(value)["type"].encode()
        record.headers = (("id", content_id(record.key or b"", value).encode()), ("type", tag))
    return records


class World:
    """The recorder's flows over one database."""

    def __init__(self, engine: AsyncEngine, *, try_limit_s: float = 10) -> None:
        self.engine = engine
        self.counts = Counts()
        self.older = False
        self.rewound: list[tuple[str, int, int, int]] = []
        self.availability = Availability()
        self.flows = {
            route.topic.name: Recorder(
                engine,
                route,
                self.availability,
                self.counts,
                rewind=self.rewind,
                try_limit_s=try_limit_s,
                build="1.2.3",
            )
            for route in ROUTES
        }

    async def rewind(self, topic: str, partition: int, next_offset: int, before: int) -> bool:
        """The broker has nothing older, unless the test says so."""
        self.rewound.append((topic, partition, next_offset, before))
        return self.older

    async def record(self, records: Sequence[Record]) -> None:
        await self.flows[records[0].topic].handle(cast("Batch", FakeBatch(records)))

    async def take(self, topic: AnyTopic, *values: msgspec.Struct | bytes | None, first: int = 0) -> None:
        await self.record(records_of(topic, *values, first=first))

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        async with self.engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(query))]

    async def value(self, query: str) -> Any:
        ((value,),) = await self.rows(query)
        return value


def incoming(value: msgspec.Struct | bytes | None, **fields: Any) -> Incoming:
    about: dict[str, Any] = {"topic": "alerts", "partition": 0, "offset": 0, "timestamp_ms": NOW_MS, "key": b"u1"}
    return Incoming(**(about | {"value": m.encode(value) if isinstance(value, msgspec.Struct) else value} | fields))
