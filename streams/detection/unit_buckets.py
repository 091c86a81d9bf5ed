"""Publishes closed buckets to `unit-aggregates`, and keeps them for late readings.

A closed bucket stays for 48 hours in a table of its own, because late readings re-open it. Its rows are at the broker
before the unit's state says that the bucket is closed: with such a state and no rows, late readings would count as the
whole bucket.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from domain.detection.aggregate import close_due, handed_over
from domain.detection.aggregate_state import About, ClosedBucket
from schemas.headers import content_id, event_headers, type_name
from schemas.messages import AggregateBucket, DeadLetterReason, encode
from schemas.topics import UNIT_AGGREGATES
from streams.engine.publish import Outgoing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from domain.detection.aggregate_state import Graded, Load, Policy, Step, UnitBuckets
    from schemas.topic import AnyTopic
    from streams.engine.interfaces import Rows, Slot


class _Row(msgspec.Struct, array_like=True):
    """A row of the table; the applied offset comes first, as in every table of detection."""

    applied_offset: int
    bucket: ClosedBucket


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Row).decode
_TYPE = type_name(AggregateBucket)


class Closings(msgspec.Struct):
    """What a batch does to buckets: records to publish, then rows to write.

    `refused` has, by record key and reason, the times of readings that no bucket takes.
    """

    outgoing: list[Outgoing] = msgspec.field(default_factory=list)
    rows: dict[bytes, bytes | None] = msgspec.field(default_factory=dict)
    refused: dict[tuple[bytes, DeadLetterReason], set[int]] = msgspec.field(default_factory=dict)


class BucketTable:
    """Publishes to the partition whose number is that of the readings' own: both topics have the same keys."""

    def __init__(
        self,
        publish_run: Callable[[AnyTopic, int, Sequence[Outgoing]], Awaitable[None]],
        rows: Rows,
        policy: Policy,
    ) -> None:
        self.policy = policy
        self._publish_run = publish_run
        self._rows = rows

    def loader(self, slot: Slot) -> Load:
        """Reads closed buckets of the slot's partition."""
        return partial(self._load, slot)

    def _load(self, slot: Slot, unit_id: str, starts_at_ms: int) -> ClosedBucket | None:
        raw = self._rows.read(slot, _row_key(unit_id, starts_at_ms))
        return None if raw is None else _decode(raw).bucket

    def close_due(
        self, buckets: UnitBuckets, applied_offset: int, about: Graded, load: Load, now_ms: int, closings: Closings
    ) -> bool:
        """Close the buckets that the wall clock closes when nothing comes; False when none is due."""
        step = close_due(buckets, about, load, now_ms, self.policy)
        if step is None:
            return False
        self.add(step, about, applied_offset, closings)
        return True

    def hand_over(
        self, buckets: UnitBuckets, applied_offset: int, about: Graded, load: Load, closings: Closings
    ) -> bool:
        """Where another organization has the unit now, close the former one's buckets; whether that was so."""
        former_id, owner_id = buckets.organization_id, about.organization_id
        buckets.organization_id = former_id or owner_id
        if buckets.organization_id == owner_id:
            return False
        # By the present limits: what the former owner had set is gone.
        former = About(about.unit_id, former_id, about.graded)
        self.add(handed_over(buckets, former, load, self.policy), former, applied_offset, closings)
        buckets.organization_id = owner_id
        return True

    def add(self, step: Step, about: Graded, applied_offset: int, closings: Closings) -> None:
        """Add what follows from a step of a unit whose state contains the records up to `applied_offset`."""
        key = about.unit_id.encode()
        for bucket in step.published:
            value = encode(bucket)
            closings.outgoing.append(
                Outgoing(UNIT_AGGREGATES, key, value, event_headers(content_id(key, value), _TYPE))
            )
        for starts_at_ms, row in step.rows.items():
            encoded = None if row is None else _encode(_Row(applied_offset, row))
            closings.rows[_row_key(about.unit_id, starts_at_ms)] = encoded
        for reason, readings in (
            (DeadLetterReason.TOO_OLD, step.too_late),
            (DeadLetterReason.TOO_MANY, step.too_many),
        ):
            if readings:
                closings.refused.setdefault((key, reason), set()).update(reading.at_ms for reading in readings)

    async def finish(self, slot: Slot, closings: Closings) -> None:
        """Returns when the buckets and then the rows are at the broker."""
        if closings.outgoing:
            await self._publish_run(UNIT_AGGREGATES, slot.partition, closings.outgoing)
        if closings.rows:
            await self._rows.write(slot, closings.rows, durable=True)


def _row_key(unit_id: str, starts_at_ms: int) -> bytes:
    return f"{unit_id}|{starts_at_ms}".encode()
