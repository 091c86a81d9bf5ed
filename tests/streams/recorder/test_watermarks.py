"""Until when a partition is recorded: from ends that were seen, and from what SQL has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from database.watermarks import NEVER, recorded_until
from schemas import topics as t
from streams.engine.placement import TopicTruncatedError
from streams.recorder.watermarks import KEPT, Ends, Pending, Place, Watermarks
from tests.streams.recorder.records import World, bucket, records_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from schemas.topic import AnyTopic

P0, P1 = Place("unit-aggregates", 0), Place("unit-aggregates", 1)


def seen(*ends: tuple[int, int], place: Place = P0) -> Pending:
    """The partition ended at an offset at a time, again and again."""
    pending = Pending()
    for at_ms, end in ends:
        pending.see(at_ms, {place: Ends(0, end)})
    return pending


def test_the_newest_time_counts_of_which_everything_is_recorded() -> None:
    pending = seen((100, 5), (200, 7), (300, 9))
    assert pending.reached({P0: 8}) == {P0: 200}
    assert pending.reached({P0: 8}) == {}
    assert pending.reached({P0: 9}) == {P0: 300}


def test_nothing_holds_before_the_first_end_is_reached() -> None:
    assert seen((100, 5)).reached({P0: 4}) == {}
    assert seen((100, 5)).reached({}) == {}


def test_an_empty_partition_is_recorded_at_once() -> None:
    assert seen((100, 0)).reached({}) == {P0: 100}


def test_a_partition_whose_records_were_all_deleted_is_recorded() -> None:
    pending = Pending()
    pending.see(100, {P0: Ends(50, 50), P1: Ends(49, 50)})
    assert pending.reached({}) == {P0: 100}


def test_an_end_that_does_not_move_is_as_good_as_the_last_time_it_was_seen() -> None:
    assert seen((100, 5), (200, 5), (300, 5)).reached({P0: 5}) == {P0: 300}


def test_what_was_seen_of_a_partition_that_left_is_forgotten() -> None:
    pending = seen((100, 5))
    pending.see(200, {P1: Ends(0, 3)})
    assert pending.reached({P0: 5, P1: 3}) == {P1: 200}


def test_a_long_backlog_keeps_few_ends_and_the_watermark_still_rises_on_the_way() -> None:
    pending = seen(*((at_ms, at_ms) for at_ms in range(1, 5_000)))
    assert len(pending) <= KEPT
    reached = [found[P0] for recorded in range(0, 5_000, 500) if (found := pending.reached({P0: recorded}))]
    assert len(reached) >= 3
    assert all(at_ms <= recorded for at_ms, recorded in zip(reached, range(500, 5_001, 500), strict=False))
    assert pending.reached({P0: 4_999}) == {P0: 4_999}


class Broker:
    """Ends of partitions, as a broker would tell."""

    def __init__(self) -> None:
        self.ends = {Place(t.UNIT_AGGREGATES.name, number): Ends(0, 0) for number in range(4)}

    async def __call__(self, _: Sequence[AnyTopic]) -> Mapping[Place, Ends]:
        return self.ends


@pytest.mark.anyio
@pytest.mark.postgres
async def test_the_watermark_of_a_topic_is_that_of_its_slowest_partition(database: AsyncEngine) -> None:
    world, broker, now_ms = World(database), Broker(), 1_000
    watermarks = Watermarks(
        database,
        [t.UNIT_AGGREGATES],
        {t.UNIT_AGGREGATES.name: 4},
        broker,
        lambda: now_ms,
        world.rewind,
        world.availability,
    )

    async def told() -> datetime:
        async with database.connect() as connection:
            return await recorded_until(connection)

    broker.ends[P1] = Ends(0, 2)
    await watermarks.once()
    assert await told() == NEVER
    await world.record(records_of(t.UNIT_AGGREGATES, bucket(), partition=1))
    await watermarks.once()
    assert await told() == NEVER
    await world.record(records_of(t.UNIT_AGGREGATES, bucket(revision=2), partition=1, first=1))
    now_ms = 2_000
    await watermarks.once()
    assert await told() == datetime.fromtimestamp(2, UTC)
    broker.ends[P1] = Ends(0, 3)
    now_ms = 9_000
    await watermarks.once()
    assert await told() == datetime.fromtimestamp(2, UTC)
    assert watermarks.behind_s()[P1] == 7
    assert watermarks.behind_s()[P0] == 0


@pytest.mark.anyio
@pytest.mark.postgres
async def test_a_partition_that_nobody_has_looked_at_holds_back_what_is_promised(database: AsyncEngine) -> None:
    world, broker = World(database), Broker()
    watermarks = Watermarks(
        database,
        [t.UNIT_AGGREGATES],
        {t.UNIT_AGGREGATES.name: 5},
        broker,
        lambda: 1_000,
        world.rewind,
        world.availability,
    )
    await watermarks.once()
    async with database.connect() as connection:
        assert await recorded_until(connection) == NEVER
    broker.ends[Place(t.UNIT_AGGREGATES.name, 4)] = Ends(0, 0)
    await watermarks.once()
    async with database.connect() as connection:
        assert await recorded_until(connection) == datetime.fromtimestamp(1, UTC)


@pytest.mark.anyio
@pytest.mark.postgres
async def test_a_topic_that_was_made_anew_is_not_taken_for_recorded(database: AsyncEngine) -> None:
    world, broker = World(database), Broker()
    broker.ends[P0] = Ends(0, 2)
    watermarks = Watermarks(
        database,
        [t.UNIT_AGGREGATES],
        {t.UNIT_AGGREGATES.name: 4},
        broker,
        lambda: 1_000,
        world.rewind,
        world.availability,
    )
    await world.record(records_of(t.UNIT_AGGREGATES, bucket(), bucket(revision=2)))
    await watermarks.once()
    broker.ends[P0] = Ends(0, 1)
    with pytest.raises(TopicTruncatedError, match="offset 2 and ends at 1"):
        await watermarks.once()


@pytest.mark.anyio
@pytest.mark.postgres
async def test_what_was_finished_and_is_not_in_sql_is_read_again(database: AsyncEngine) -> None:
    world, broker = World(database), Broker()
    broker.ends[P0], broker.ends[P1] = Ends(0, 2, finished=2), Ends(0, 2, finished=1)
    watermarks = Watermarks(
        database,
        [t.UNIT_AGGREGATES],
        {t.UNIT_AGGREGATES.name: 4},
        broker,
        lambda: 1_000,
        world.rewind,
        world.availability,
    )
    await world.record(records_of(t.UNIT_AGGREGATES, bucket(), bucket(revision=2)))
    await watermarks.once()
    assert world.rewound == [("unit-aggregates", 1, 0, 1)]
