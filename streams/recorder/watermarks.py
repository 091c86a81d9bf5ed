"""Keeps `recorder_watermarks`; `database/watermarks.py` says what they promise. On its way it looks whether SQL
knows less than this worker has finished.

The rows of all partitions could be kept by any worker, because what is compared lies in SQL and at the broker: an end
that the partition had at some time, and the offset that is recorded. Each worker does it for its own partitions.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
from aiokafka.errors import KafkaError
from sqlalchemy import text

from database.declarative import from_ms
from streams.engine.placement import TopicTruncatedError
from streams.recorder.transaction import AWAY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    import faust
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from schemas.topic import AnyTopic
    from streams.engine.group_member import GroupMember
    from streams.recorder.availability import Availability

log = structlog.get_logger(__name__)

EVERY_S = 1.0
LIMIT_S = 10.0
WHO = "watermarks"
# While the recorder is behind, so many ends that it has not reached yet are kept of each partition.
KEPT = 64


class Ends(NamedTuple):
    """Where a partition began and ended, and the offset before which this worker has finished everything."""

    first: int
    end: int
    finished: int = 0


class Seen(NamedTuple):
    at_ms: int
    ends: Ends


class Place(NamedTuple):
    topic: str
    partition: int


class Pending:
    """Ends of partitions that are not recorded yet, with the times at which they were asked for. Pure."""

    def __init__(self) -> None:
        self._seen: defaultdict[Place, list[Seen]] = defaultdict(list)

    def __len__(self) -> int:
        return sum(map(len, self._seen.values()))

    def see(self, at_ms: int, ends: Mapping[Place, Ends]) -> None:
        """At `at_ms`, before anything was asked, the partitions ended there or before."""
        for gone in self._seen.keys() - ends.keys():
            del self._seen[gone]
        for place, found in ends.items():
            seen = self._seen[place]
            if seen and seen[-1].ends.end == found.end:
                seen.pop()
            seen.append(Seen(at_ms, found))
            if len(seen) > KEPT:
                # The oldest is reached first, the newest counts in the end; one goes that lies close to its neighbours.
                between = range(1, len(seen) - 1)
                del seen[min(between, key=lambda number: seen[number + 1].ends.end - seen[number - 1].ends.end)]

    def reached(self, next_offsets: Mapping[Place, int]) -> dict[Place, int]:
        """The newest times of which everything is recorded, given the next offset of each partition."""
        found: dict[Place, int] = {}
        for place, seen in self._seen.items():
            while seen and _is_recorded(seen[0].ends, next_offsets.get(place, 0)):
                found[place] = seen.pop(0).at_ms
        return found


def _is_recorded(ends: Ends, next_offset: int) -> bool:
    # Of an empty partition there is nothing to record, wherever it stands.
    return next_offset >= ends.end or ends.first >= ends.end


_NEXT = text("SELECT topic, partition, next_offset FROM recorder_offsets WHERE topic = ANY(:topics)")
_RISE = text(
    "INSERT INTO recorder_watermarks AS mark (topic, partition, recorded_until)"
    " SELECT * FROM unnest(CAST(:topics AS text[]), CAST(:partitions AS integer[]), CAST(:times AS timestamptz[]))"
    " ORDER BY 1, 2 ON CONFLICT (topic, partition)"
    " DO UPDATE SET recorded_until = greatest(mark.recorded_until, excluded.recorded_until)"
)


class Watermarks:
    """Raises the watermarks of `kept` topics about once a second, and watches all `topics`.

    `kept` has names and counts of partitions. One that no worker has looked at holds back what is promised.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        topics: Sequence[AnyTopic],
        kept: Mapping[str, int],
        ends: Callable[[Sequence[AnyTopic]], Awaitable[Mapping[Place, Ends]]],
        now_ms: Callable[[], int],
        rewind: Callable[[str, int, int, int], Awaitable[bool]],
        availability: Availability,
    ) -> None:
        self._engine = engine
        self._availability = availability
        self._rewind = rewind
        self._topics = topics
        self._kept = kept
        self._have_rows = False
        self._ends = ends
        self._now_ms = now_ms
        self._pending = Pending()
        self._marks: dict[Place, int] = {}
        self._next_offsets: dict[Place, int] = {}

    def behind_s(self) -> dict[Place, float]:
        """Seconds since the watermark of each partition that this worker keeps."""
        now_ms = self._now_ms()
        return {place: (now_ms - at_ms) / 1000 for place, at_ms in self._marks.copy().items()}

    async def run(self) -> None:
        """Until it is cancelled; a broker or database that is away is asked again."""
        while True:
            begin = time.monotonic()
            try:
                async with asyncio.timeout(LIMIT_S):
                    await self.once()
            except KafkaError as error:
                log.warning("recorder.watermarks_waiting", why=repr(error))
            except AWAY as error:
                self._availability.failed(WHO, error)
            else:
                self._availability.answered(WHO)
            await asyncio.sleep(max(EVERY_S - (time.monotonic() - begin), 0.1))

    async def once(self) -> None:
        """Look at the broker, then at SQL, then say what holds.

        Raises TopicTruncatedError where more is recorded than the topic holds: its new records would pass for known.
        """
        at_ms = self._now_ms()
        ends = await self._ends(self._topics)
        for place, found in ends.items():
            if (recorded := self._next_offsets.get(place, 0)) > found.end:
                raise TopicTruncatedError(
                    f"{place.topic}, partition {place.partition}, is recorded up to offset {recorded} and ends at"
                    f" {found.end}: the topic was recreated; delete its rows of recorder_offsets, or restore it"
                )
        self._pending.see(at_ms, ends)
        self._marks = {place: at for place, at in self._marks.items() if place in ends}
        if not ends:
            return
        async with self._engine.begin() as connection:
            rows = await connection.execute(_NEXT, {"topics": [topic.name for topic in self._topics]})
            self._next_offsets = {Place(topic, partition): next_offset for topic, partition, next_offset in rows}
            if not self._have_rows:
                every = [Place(name, number) for name, count in self._kept.items() for number in range(count)]
                await self._rise(connection, dict.fromkeys(every, 0))
            reached = self._pending.reached(self._next_offsets)
            await self._rise(connection, {place: at for place, at in reached.items() if place.topic in self._kept})
        self._have_rows = True
        self._marks = self._marks | reached
        for place, found in ends.items():
            if (wanted := self._next_offsets.get(place, 0)) < found.finished:
                await self._rewind(place.topic, place.partition, wanted, found.finished)

    async def _rise(self, connection: AsyncConnection, marks: Mapping[Place, int]) -> None:
        if marks:
            topics, partitions = [place.topic for place in marks], [place.partition for place in marks]
            times = [from_ms(at) for at in marks.values()]
            await connection.execute(_RISE, {"topics": topics, "partitions": partitions, "times": times})


def ends_of(app: faust.App, topic_name: Callable[[str], str]) -> Callable[[Sequence[AnyTopic]], Awaitable[Any]]:
    """Asks the broker where the partitions begin and end that this worker has of some topics."""

    async def ends(topics: Collection[AnyTopic]) -> Mapping[Place, Ends]:
        names = {topic_name(topic.name): topic.name for topic in topics}
        member: GroupMember = app.consumer.member
        mine = {tp: partition for tp, partition in member.partitions.items() if tp.topic in names}
        # Taken first: what a flow has finished is in SQL before it is finished here.
        finished = {tp: partition.completed for tp, partition in mine.items()}
        found = await member.client.offsets(mine, limit_s=LIMIT_S) if mine else {}
        return {
            Place(names[tp.topic], tp.partition): Ends(offsets.first, offsets.end, finished[tp])
            for tp, offsets in found.items()
        }

    return ends
