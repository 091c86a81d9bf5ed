"""Whether this worker has read all there is: only then does it know that nothing came from a unit.

A partition is caught up when everything that it held at the former look (a second ago) is finished.
`connected_since_ms` is the start of the present unbroken contact with the broker: after an outage units have time to
report before any of them counts as offline.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog
from aiokafka.errors import KafkaError
from faust.types import TP

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import faust

    from streams.engine.group_member import GroupMember
    from streams.engine.interfaces import Clock

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0
ANSWER_WITHIN_S = 5.0
# A longer break than this between two answers of the broker counts as an outage.
BREAK_S = 10.0


class ConsumerLag:
    """For the partitions of one topic of the app (its name at the broker)."""

    def __init__(self, app: faust.App, topic: str, now_ms: Clock) -> None:
        self.connected_since_ms = 0
        self.behind: Mapping[int, int] = {}
        self._app = app
        self._topic = topic
        self._now_ms = now_ms
        self._caught_up: frozenset[int] = frozenset()
        self._looked_s = self._answered_s = float("-inf")
        self._ends: dict[TP, int] = {}
        self._idle: set[TP] = set()

    async def caught_up(self, partitions: Collection[int]) -> frozenset[int]:
        """Those of the partitions, all ours, that are caught up; looks at most once a second."""
        if partitions and time.monotonic() - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = time.monotonic()
            self._caught_up = await self._look([TP(self._topic, number) for number in partitions])
        return self._caught_up.intersection(partitions)

    async def _look(self, tps: Collection[TP]) -> frozenset[int]:
        member: GroupMember = self._app.consumer.member
        partitions = member.partitions
        try:
            found = await member.client.offsets(tps, limit_s=ANSWER_WITHIN_S)
        except (KafkaError, TimeoutError) as error:
            log.warning("consumer_lag.unknown", topic=self._topic, error=repr(error))
            self._ends, self._idle = {}, set()
            return frozenset()
        if time.monotonic() - self._answered_s > BREAK_S:
            self.connected_since_ms = self._now_ms()
        self._answered_s = time.monotonic()
        former, was_idle = self._ends, self._idle
        if partitions is not member.partitions:
            self._ends, self._idle = {}, set()
            return frozenset()
        self._ends = ends = {tp: offsets.end for tp, offsets in found.items()}
        ours = {tp: partitions[tp] for tp in tps if tp in partitions}
        # An offset behind the last record is that of a transaction's end, which is never handed over.
        self._idle = {tp for tp, partition in ours.items() if partition.rests and partition.position >= ends[tp]}
        self.behind = {
            tp.partition: 0 if tp in self._idle else max(0, ends[tp] - partition.completed)
            for tp, partition in ours.items()
        }
        return frozenset(
            tp.partition
            for tp, partition in ours.items()
            if tp in former and (partition.completed >= former[tp] or (tp in self._idle and tp in was_idle))
        )
