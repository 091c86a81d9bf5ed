"""Records of `readings` as a consumer brings them. Times are given in seconds after a fixed start."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from domain.detection.readings import Run, sort_records
from schemas import messages as m

if TYPE_CHECKING:
    from collections.abc import Sequence

START_MS = 1_795_000_000_000
MAX_AGE_MS = 400 * 86_400_000


class Raw(NamedTuple):
    key: bytes | None
    value: bytes | None
    offset: int = 0
    timestamp: int = START_MS
    headers: Sequence[tuple[str, bytes]] = ()


def record(unit_id: str, readings: Sequence[tuple[float, float]], offset: int = 0) -> Raw:
    batch = m.ReadingBatch(unit_id, [m.Reading(START_MS + int(second * 1000), c) for second, c in readings])
    return Raw(unit_id.encode(), m.encode(batch), offset)


def run_of(readings: Sequence[tuple[float, float]], unit_id: str = "u", offset: int = 0) -> Run:
    """The run of single-reading records with offsets from `offset`."""
    records = [record(unit_id, [reading], offset + index) for index, reading in enumerate(readings)]
    found = sort_records(records, START_MS + 10**9, MAX_AGE_MS)
    assert not found.refusals
    return found.runs[unit_id.encode()]
