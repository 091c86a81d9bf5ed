"""What is done about units from which nothing comes, with fakes for tables, partitions, hearing and the clock."""

from __future__ import annotations

import pytest

from domain.detection.aggregate_numbers import BUCKET_MS
from domain.detection.aggregate_state import Policy
from schemas import messages as m
from schemas.topics import UNIT_CONNECTIVITY
from streams.detection.offline_units import LOOK_EVERY_S, OfflineUnits
from streams.detection.readings_to_alerts_and_aggregates import Detection
from streams.detection.unit_buckets import BucketTable
from streams.detection.unit_rounds import UnitRounds
from streams.detection.unit_states import UnitStates
from streams.engine.publish import PublishError
from tests.domain.detection.records import MAX_AGE_MS, Raw
from tests.streams.detection.detection_fakes import (
    FakeBroker,
    FakeLag,
    FakeSlot,
    FakeTable,
    FakeUnits,
    batch_of,
)

pytestmark = pytest.mark.anyio

MINUTE = 60_000
START = 1_795_000_500_000
RULE = m.Rule(rule_id="hot", limit=m.Limit.HIGH, severity=m.Severity.CRITICAL, limit_c=8.0)


def unit(unit_id: str, **more: object) -> m.UnitConfig:
    config = m.UnitConfig(unit_id=unit_id, organization_id="org", name="Fridge", rules=(RULE,), live_window_s=10**6)
    return m.UnitConfig(**{name: getattr(config, name) for name in config.__struct_fields__} | more)


class World(FakeBroker):
    """A worker that owns partitions 0 and 1; units whose id ends in an even digit lie in 0."""

    def __init__(self, *configs: m.UnitConfig) -> None:
        super().__init__()
        self.units = FakeUnits(*configs)
        self.slots = [FakeSlot(0), FakeSlot(1)]
        self.states, self.rows = FakeTable(*self.slots), FakeTable(*self.slots)
        self.lag = FakeLag(0, 1)
        self.now_ms = START
        self.offset = 0
        self.start()

    def start(self) -> None:
        """A new process over the same tables."""
        states = UnitStates(self.states, self.units)
        buckets = BucketTable(self.publish_run, self.rows, Policy())
        self.detection = Detection(self.publish, states, buckets, lambda: self.now_ms, MAX_AGE_MS)
        self.offline_units = OfflineUnits(
            self.publish,
            states,
            buckets,
            UnitRounds(self.units, lambda unit_id: int(unit_id[-1]) % 2, LOOK_EVERY_S),
            self.lag,
            lambda: self.now_ms,
            self.detection.counts,
        )

    async def read(self, unit_id: str, at_ms: int, celsius: float = 5.0) -> None:
        value = m.encode(m.ReadingBatch(unit_id, [m.Reading(at_ms, celsius)]))
        record = Raw(unit_id.encode(), value, self.offset, self.now_ms)
        self.offset += 1
        await self.detection.handle(batch_of([record], partition=int(unit_id[-1]) % 2))

    async def look_after(self, minutes: float) -> None:
        self.now_ms = START + int(minutes * MINUTE)
        await self.offline_units.look()


async def test_the_bucket_of_a_silent_unit_is_closed_by_the_wall_clock() -> None:
    world = World(unit("u0"))
    await world.read("u0", START)
    due = (START - START % BUCKET_MS + BUCKET_MS - START) / MINUTE + 2
    await world.look_after(due - 0.1)
    assert world.buckets() == []
    await world.look_after(due + 0.1)
    (bucket,) = world.buckets()
    assert (bucket.count, bucket.revision, bucket.starts_at_ms) == (1, 1, START - START % BUCKET_MS)
    await world.look_after(due + 0.2)
    assert len(world.buckets()) == 1


async def test_late_readings_after_that_are_the_second_revision_also_in_a_new_process() -> None:
    world = World(unit("u0"))
    await world.read("u0", START)
    await world.look_after(30)
    world.start()
    await world.read("u0", START + 1000)
    newest = [bucket for bucket in world.buckets() if bucket.starts_at_ms == START - START % BUCKET_MS][-1]
    assert (newest.count, newest.revision) == (2, 2)


async def test_a_unit_is_silent_after_its_third_missed_interval_once_and_heard_again_with_its_next_record() -> None:
    world = World(unit("u0", gateway_id="g"))
    await world.read("u0", START)
    await world.look_after(14.9)
    assert world.connectivity() == []
    await world.look_after(15)
    await world.look_after(16)
    silent = m.UnitOffline(
        unit_id="u0", organization_id="org", group="gateway:org/g", since_at_ms=START, at_ms=START + 15 * MINUTE
    )
    assert world.connectivity() == [silent]
    world.now_ms += MINUTE
    await world.read("u0", world.now_ms)
    assert world.connectivity()[1:] == [m.UnitOnline(unit_id="u0", group="gateway:org/g", at_ms=world.now_ms)]
    assert {out.key for out in world.sent if out.topic is UNIT_CONNECTIVITY} == {b"gateway:org/g"}
    await world.look_after(17 + 15)
    assert len(world.connectivity()) == 3


async def test_a_unit_that_was_never_heard_counts_from_when_it_was_first_seen_also_over_a_restart() -> None:
    world = World(unit("u0"))
    await world.look_after(0)
    world.start()
    await world.look_after(14.9)
    assert world.connectivity() == []
    await world.look_after(15)
    (event,) = world.connectivity()
    assert isinstance(event, m.UnitOffline)
    assert event.since_at_ms == START


async def test_nobody_is_called_silent_while_a_backlog_is_read() -> None:
    world = World(unit("u0"), unit("u1"))
    await world.read("u0", START)
    await world.read("u1", START)
    world.start()
    world.lag.partitions = {1}
    await world.look_after(60)
    assert [event.unit_id for event in world.connectivity()] == ["u1"]
    # The backlog has a reading of the unit, however old.
    await world.read("u0", START + MINUTE)
    world.lag.partitions = {0, 1}
    await world.look_after(61)
    assert [event.unit_id for event in world.connectivity()] == ["u1"]


async def test_after_an_outage_units_have_two_intervals_to_be_heard() -> None:
    world = World(unit("u0"), unit("u1"))
    await world.read("u0", START)
    await world.read("u1", START)
    world.lag.connected_since_ms = START + 60 * MINUTE
    await world.look_after(69.9)
    assert world.connectivity() == []
    await world.read("u0", START + 69 * MINUTE)
    await world.look_after(70)
    assert [event.unit_id for event in world.connectivity()] == ["u1"]


async def test_a_partition_that_went_is_left_alone() -> None:
    world = World(unit("u0"))
    await world.read("u0", START)
    world.slots[0].ours = False
    await world.look_after(60)
    assert world.connectivity() == []
    assert world.buckets() == []


async def test_a_failed_publish_is_made_good_at_the_next_look() -> None:
    world = World(unit("u0"))
    await world.read("u0", START)
    before = dict(world.states.values)
    world.fail = PublishError
    await world.look_after(60)
    assert world.states.values == before
    world.fail = None
    await world.look_after(60)
    assert len(world.connectivity()) == 1
    assert [bucket.revision for bucket in world.buckets()] == [1]


async def test_a_crash_before_the_state_is_stored_makes_the_same_bucket_and_the_same_event_again() -> None:
    world = World(unit("u0"))
    await world.read("u0", START)
    world.states.fail = ConnectionError
    with pytest.raises(ConnectionError):
        await world.look_after(60)
    world.states.fail = None
    world.start()
    await world.look_after(61)
    one, two = world.buckets()
    assert one == two
    first, again = (dict(out.headers)["id"] for out in world.sent if out.topic is UNIT_CONNECTIVITY)
    assert first == again


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_removed_unit_ends_its_alerts_and_its_silence(restarted: bool) -> None:
    world = World(unit("u0"), unit("u1"))
    await world.read("u0", START, 9.0)
    await world.look_after(20)
    assert len(world.connectivity()) == 1
    world.units.remove("u0")
    if restarted:
        world.start()
    await world.look_after(21)
    await world.look_after(22)
    last = world.connectivity()[-1]
    assert isinstance(last, m.UnitOnline)
    assert (last.unit_id, last.because) == ("u0", "unit removed")
    assert [type(alert).__name__ for alert in world.alerts()] == ["AlertTriggered", "AlertResolved"]


async def test_a_silent_unit_that_is_moved_is_judged_with_its_new_gateway() -> None:
    world = World(unit("u0", gateway_id="g"))
    await world.read("u0", START)
    await world.look_after(15)
    world.units.set(unit("u0", gateway_id="h"))
    await world.look_after(16)
    told = [(type(event).__name__, event.group) for event in world.connectivity()]
    assert told == [("UnitOffline", "gateway:org/g"), ("UnitOnline", "gateway:org/g"), ("UnitOffline", "gateway:org/h")]


async def test_many_units_are_all_looked_at_within_a_round() -> None:
    names = [f"u{number:05}" for number in range(3_000)]
    world = World(*map(unit, names))
    for _ in range(6):
        await world.look_after(0)
    assert len(world.states.values) == len(names)
