"""Which value of a key counts when a changelog is read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from streams.engine.consumer import Record


def newest_by_applied_offset(
    records: Iterable[Record],
    applied_offset_of: Callable[[bytes], int] | None,
    stored: Callable[[bytes], bytes | None],
) -> dict[bytes, bytes | None]:
    """The values that the keys of `records` have after them, given what is `stored` already; None: deleted.

    Of two values the one with the higher applied offset stays, of two equal ones the later. A deletion ends everything
    before it.
    """
    values: dict[bytes, bytes | None] = {}
    for record in records:
        key, value = record.key, record.value
        if key is None:
            continue
        if value is not None and applied_offset_of is not None:
            known = values[key] if key in values else stored(key)
            if known is not None and applied_offset_of(known) > applied_offset_of(value):
                value = known
        values[key] = value
    return values
