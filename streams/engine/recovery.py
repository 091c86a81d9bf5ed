"""Reads changelogs into the local stores, before anything of their partitions is delivered."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

import structlog

from streams.engine.delivery import CALL_LIMIT_S, FETCH_WAIT_S, MAX_RECORDS
from streams.engine.partition import PositionError
from streams.engine.placement import restore_from

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from faust.types import TP

    from streams.engine.broker_client import BrokerClient, Fetched
    from streams.engine.consumer import Record

log = structlog.get_logger(__name__)

# So many records are applied before others have a turn.
RESTORE_AT_ONCE = 5_000


class Changelogs(Protocol):
    """The local stores of the tables."""

    def stored_offset(self, tp: TP) -> int | None:
        """The offset of the newest record that the store contains; None if it contains nothing."""

    def drop(self, tp: TP) -> None:
        """Forget everything that the store contains."""

    def restore(self, tp: TP, records: Sequence[Record]) -> None:
        """Apply records, the next ones in order."""


async def restore(client: BrokerClient, changelogs: Changelogs, tps: Collection[TP], *, stall_limit_s: float) -> None:
    """Returns when the stores contain what the changelogs held at this moment.

    Raises TopicTruncatedError for a store that knows more than its changelog, TimeoutError when the broker has sent
    nothing for `stall_limit_s`.
    """
    if not tps:
        return
    found = await client.offsets(tps, limit_s=CALL_LIMIT_S)
    for tp in tps:
        if (stored := changelogs.stored_offset(tp)) is not None and stored + 1 < found[tp].first:
            # `topics grow` moved the rows: some of them to other partitions, all with other offsets.
            log.warning("store.outdated", topic=tp.topic, partition=tp.partition, stored=stored, first=found[tp].first)
            changelogs.drop(tp)
    positions = {tp: restore_from(tp, changelogs.stored_offset(tp), found[tp]) for tp in tps}
    await client.seek(positions, limit_s=CALL_LIMIT_S)
    behind = {tp for tp in tps if positions[tp] < found[tp].end}
    heard_at = time.monotonic()
    while behind:
        fetched = await client.fetch(behind, max_records=MAX_RECORDS, wait_s=FETCH_WAIT_S)
        if fetched:
            heard_at = time.monotonic()
        elif time.monotonic() - heard_at > stall_limit_s:
            names = ", ".join(f"{tp.topic}[{tp.partition}]" for tp in sorted(behind))
            raise TimeoutError(f"the broker has sent nothing of {names} for {stall_limit_s:g} s")
        for tp, run in fetched.items():
            await _apply(changelogs, tp, positions[tp], run)
            positions[tp] = run.next_position
            if run.next_position >= found[tp].end:
                behind.discard(tp)


async def _apply(changelogs: Changelogs, tp: TP, position: int, run: Fetched) -> None:
    if run.position != position:
        raise PositionError(f"{tp.topic}[{tp.partition}] was fetched at {run.position}, wanted was {position}")
    for start in range(0, len(run.records), RESTORE_AT_ONCE):
        changelogs.restore(tp, run.records[start : start + RESTORE_AT_ONCE])
        await asyncio.sleep(0)
