"""The applied offset of a stored value, the first element in each of our tables; and how recovery compares two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from streams.engine.alarms import raise_alarm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from streams.engine.consumer import Record


class _Prefix(msgspec.Struct, array_like=True, gc=False):
    """The rest of the value is not decoded."""

    applied_offset: int


_decode = msgspec.msgpack.Decoder(_Prefix).decode


def applied_offset_of(raw: bytes) -> int:
    """Up to which offset of its source, or to which version, the value is complete, whichever table it lies in."""
    return _decode(raw).applied_offset


def newest_by_applied_offset(
    records: Iterable[Record],
    applied_offset_of: Callable[[bytes], int] | None,
    stored: Callable[[bytes], bytes | None],
) -> dict[bytes, bytes | None]:
    """The values that the keys of `records` have after them, given what is `stored` already; None: deleted.

    Of two values the one with the higher applied offset stays, of two equal ones the later. A deletion ends everything
    before it. One that says no applied offset loses, with an alarm: it would end every owner of the partition.
    """
    values: dict[bytes, bytes | None] = {}
    for record in records:
        key, value = record.key, record.value
        if key is None:
            continue
        if value is not None and applied_offset_of is not None:
            known = values[key] if key in values else stored(key)
            if known is not None:
                try:
                    if applied_offset_of(known) > applied_offset_of(value):
                        value = known
                except msgspec.MsgspecError as error:
                    value = _readable(record, known, value, applied_offset_of, error)
        values[key] = value
    return values


def _readable(
    record: Record, known: bytes, value: bytes, applied_offset_of: Callable[[bytes], int], error: Exception
) -> bytes:
    place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    raise_alarm("table.row_unreadable", error, **place)
    try:
        applied_offset_of(value)
    except msgspec.MsgspecError:
        return known
    return value
