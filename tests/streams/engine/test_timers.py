"""Timers over a table in memory: no broker, a clock that the test moves."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

import msgspec
import pytest
from structlog.testing import capture_logs

from schemas.topics import EMAIL_REQUESTS, SMS_INFO, TOPICS
from streams.engine.applied_offset import applied_offset_of
from streams.engine.consumer import Stale
from streams.engine.publish import PublishError, RecordTooLargeError
from streams.engine.timer_rows import Declared, TimerRow, decode, encode
from streams.engine.timers import FIRE_AT_MOST, RETRY_MS, UNFIT_RETRY_MS, Timer, Timers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from schemas.topic import AnyTopic
    from streams.engine.interfaces import Slot
    from streams.engine.publish import Outgoing
    from tests.conftest import Eventually

pytestmark = pytest.mark.anyio


class Place(msgspec.Struct):
    partition: int = 0
    epoch: int = 1
    ours: bool = True

    def still_ours(self) -> bool:
        return self.ours


class Table:
    def __init__(self, *places: Place) -> None:
        self.places = list(places)
        self.rows: dict[tuple[int, bytes], bytes] = {}
        self.one_at_a_time = asyncio.Lock()
        self.sent = asyncio.Event()
        self.sent.set()

    def owned(self) -> Sequence[Slot]:
        return list(self.places)

    def at_work(self) -> AbstractContextManager[None]:
        return nullcontext()

    def scan(self, slot: Slot) -> Iterator[tuple[bytes, bytes]]:
        yield from [(key, value) for (partition, key), value in self.rows.items() if partition == slot.partition]

    def read(self, slot: Slot, key: bytes) -> bytes | None:
        return self.rows.get((slot.partition, key))

    async def write(self, slot: Slot, items: Mapping[bytes, bytes | None], *, durable: bool = False) -> None:
        if not slot.still_ours():
            raise Stale
        async with self.one_at_a_time:
            self.apply(slot, items)
            await self.sent.wait()

    async def delete_unchanged(self, slot: Slot, judged: Mapping[bytes, bytes]) -> int:
        if not slot.still_ours():
            raise Stale
        async with self.one_at_a_time:
            gone = [key for key, value in judged.items() if self.read(slot, key) == value]
            self.apply(slot, dict.fromkeys(gone))
            await self.sent.wait()
        return len(gone)

    def apply(self, slot: Slot, items: Mapping[bytes, bytes | None]) -> None:
        for key, value in items.items():
            if value is None:
                self.rows.pop((slot.partition, key), None)
            else:
                self.rows[slot.partition, key] = value


class World:
    def __init__(self, table: Table) -> None:
        self.now_ms = 0
        self.published: list[Outgoing] = []
        self.broken = 0
        self.on_publish: Callable[[], None] = lambda: None
        self.unreachable: dict[AnyTopic, asyncio.Event] = {}
        self.refused: set[bytes] = set()
        self.too_large: set[bytes] = set()
        self.failing: set[bytes] = set()
        self.attempts = 0
        self.table = table
        self.timers = Timers(table, self.publish, lambda: self.now_ms)

    async def publish(self, outgoing: Sequence[Outgoing]) -> None:
        self.attempts += 1
        if self.broken:
            self.broken -= 1
            raise PublishError("the broker is away")
        if self.too_large & {record.value for record in outgoing}:
            raise RecordTooLargeError
        if self.failing & {record.value for record in outgoing}:
            raise ValueError("our code fails on it")
        for record in outgoing:
            if record.topic in self.unreachable:
                await self.unreachable[record.topic].wait()
        self.on_publish()
        arrived = {place: record for place, record in enumerate(outgoing) if record.value not in self.refused}
        self.published += arrived.values()
        if len(arrived) < len(outgoing):
            raise PublishError("refused", frozenset(arrived))

    @property
    def fired(self) -> list[str]:
        return [record.value.decode() for record in self.published if record.value is not None]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.timers.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


def timer(name: str, due_at_ms: int) -> Timer:
    return Timer(timer_id=name, due_at_ms=due_at_ms, topic=SMS_INFO, key=b"user", value=name.encode())


async def test_timers_fire_in_the_order_of_their_due_times(eventually: Eventually) -> None:
    place = Place()
    world = World(Table(place))
    await world.timers.set(place, [timer("late", 30), timer("early", 10), timer("middle", 20)])
    world.now_ms = 100
    async with world.running():
        await eventually.awaited(lambda: len(world.fired) == 3)
    assert world.fired == ["early", "middle", "late"]
    assert world.table.rows == {}


async def test_nothing_fires_before_its_time(eventually: Eventually) -> None:
    place = Place()
    world = World(Table(place))
    await world.timers.set(place, [timer("later", 1_000), timer("now", 0)])
    async with world.running():
        await eventually.awaited(lambda: world.fired)
        assert world.fired == ["now"]
        world.now_ms = 1_000
        await eventually.awaited(lambda: len(world.fired) == 2)


async def test_a_cancelled_timer_does_not_fire(eventually: Eventually) -> None:
    place = Place()
    world = World(Table(place))
    await world.timers.set(place, [timer("cancelled", 10), timer("kept", 20)])
    await world.timers.cancel(place, ["cancelled", "never set"])
    world.now_ms = 100
    async with world.running():
        await eventually.awaited(lambda: world.fired)
    assert world.fired == ["kept"]


async def test_the_same_id_set_again_replaces_the_former_timer(eventually: Eventually) -> None:
    place = Place()
    world = World(Table(place))
    await world.timers.set(place, [timer("reminder", 10)])
    await world.timers.set(place, [timer("reminder", 50), timer("other", 20)])
    world.now_ms = 30
    async with world.running():
        await eventually.awaited(lambda: world.fired)
        assert world.fired == ["other"]
        world.now_ms = 50
        await eventually.awaited(lambda: len(world.fired) == 2)


async def test_a_new_owner_finds_the_timers_of_its_partition_and_fires_what_is_overdue(eventually: Eventually) -> None:
    table = Table(Place(0), Place(1))
    former = World(table)
    await former.timers.set(table.places[0], [timer("in zero", 10)])
    await former.timers.set(table.places[1], [timer("in one", 10)])
    table.places = [Place(1, epoch=2)]
    successor = World(table)
    successor.now_ms = 10_000
    async with successor.running():
        await eventually.awaited(lambda: successor.fired)
    assert successor.fired == ["in one"]
    assert successor.timers.worst_late_ms == 9_990


async def test_a_partition_that_went_takes_its_timers_along(eventually: Eventually) -> None:
    place = Place()
    world = World(Table(place))
    async with world.running():
        await world.timers.set(place, [timer("gone", 10)])
        world.table.places = []
        await eventually.awaited(lambda: len(world.timers) == 0)
        world.now_ms = 100
        world.table.places = [Place(1)]
        await world.timers.set(world.table.places[0], [timer("stays", 10)])
        await eventually.awaited(lambda: world.fired)
    assert world.fired == ["stays"]


async def test_a_timer_of_a_partition_that_is_not_ours_any_more_does_not_fire(eventually: Eventually) -> None:
    lost, kept = Place(0), Place(1)
    world = World(Table(lost, kept))
    await world.timers.set(lost, [timer("not ours", 10)])
    await world.timers.set(kept, [timer("ours", 10)])
    lost.ours = False
    world.now_ms = 100
    async with world.running():
        await eventually.awaited(lambda: world.fired)
    assert world.fired == ["ours"]


async def test_a_timer_outlives_the_batch_that_set_it(eventually: Eventually) -> None:
    place, batch = Place(), Place()
    world = World(Table(place))
    async with world.running():
        await world.timers.set(batch, [timer("reminder", 10)])
        batch.ours = False
        world.now_ms = 100
        await eventually.awaited(lambda: world.fired)
    assert world.fired == ["reminder"]


async def test_a_worker_that_lost_contact_for_a_moment_fires_when_it_is_back(eventually: Eventually) -> None:
    place = Place()
    world = World(Table(place))
    await world.timers.set(place, [timer("reminder", 10)])
    place.ours = False
    world.now_ms = 100
    async with world.running():
        await eventually.awaited(lambda: world.timers._slots)
        place.ours = True
        world.now_ms += RETRY_MS
        await eventually.awaited(lambda: world.fired)
    assert world.fired == ["reminder"]


async def test_a_failed_publish_keeps_the_timer_for_another_try(eventually: Eventually) -> None:
    place = Place()
    world = World(Table(place))
    world.broken = 1
    await world.timers.set(place, [timer("stubborn", 10)])
    world.now_ms = 100
    async with world.running():
        await eventually.awaited(lambda: world.broken == 0)
        world.now_ms += RETRY_MS
        await eventually.awaited(lambda: world.fired)
    assert world.fired == ["stubborn"]
    assert world.table.rows == {}


async def test_a_timer_set_anew_while_its_former_version_fires_is_not_deleted_with_that(eventually: Eventually) -> None:
    place = Place()
    world = World(Table(place))
    await world.timers.set(place, [timer("reminder", 10), timer("other", 10)])
    async with world.running():
        await eventually.awaited(lambda: world.timers._slots)
        world.table.sent.clear()
        again = asyncio.create_task(world.timers.set(place, [timer("reminder", 1_000)]))
        await eventually.awaited(world.table.one_at_a_time.locked)
        world.now_ms = 100
        await eventually.awaited(lambda: "other" in world.fired)
        world.table.sent.set()
        await again
        await eventually.awaited(lambda: (0, b"other") not in world.table.rows)
    assert list(world.table.rows) == [(0, b"reminder")]


async def test_a_timer_set_twice_for_the_same_time_fires_once(eventually: Eventually) -> None:
    place = Place()
    world = World(Table(place))
    async with world.running():
        await eventually.awaited(lambda: world.timers._slots)
        await world.timers.set(place, [timer("reminder", 10)])
        await world.timers.set(place, [timer("reminder", 10), timer("last", 20)])
        world.now_ms = 100
        await eventually.awaited(lambda: "last" in world.fired)
    assert world.fired == ["reminder", "last"]


async def test_what_fired_out_of_contact_is_deleted_later_and_fires_no_second_time(eventually: Eventually) -> None:
    place = Place()
    world = World(Table(place))
    await world.timers.set(place, [timer("reminder", 10)])
    async with world.running():
        await eventually.awaited(lambda: world.timers._slots)
        world.on_publish = lambda: setattr(place, "ours", False)
        world.now_ms = 100
        await eventually.awaited(lambda: world.fired)
        await eventually.awaited(lambda: world.timers._fired)
        assert world.table.rows
        world.on_publish = lambda: None
        place.ours = True
        await eventually.awaited(lambda: not world.table.rows)
    assert world.fired == ["reminder"]


async def test_of_two_versions_the_one_that_was_set_later_wins_recovery_though_the_clock_went_back() -> None:
    place = Place()
    world = World(Table(place))
    world.now_ms = 5_000
    await world.timers.set(place, [timer("reminder", 10_000)])
    world.timers._follow_assignment()
    first = applied_offset_of(world.table.rows[0, b"reminder"])
    world.now_ms = 1_000
    await world.timers.set(place, [timer("reminder", 20_000)])
    assert applied_offset_of(world.table.rows[0, b"reminder"]) > first


async def test_a_timer_of_a_declared_topic_is_stored_by_its_plain_name_and_fires_at_the_declared_topic(
    eventually: Eventually,
) -> None:
    place = Place()
    world = World(Table(place))
    await world.timers.set(place, [timer("reminder", 10)])
    assert decode(world.table.rows[0, b"reminder"]).topic == "sms-info"
    world.now_ms = 100
    async with world.running():
        await eventually.awaited(lambda: world.published)
    assert [record.topic for record in world.published] == [SMS_INFO]


async def test_a_row_of_an_earlier_release_holds_the_name_at_the_broker_and_fires_at_the_same_topic(
    eventually: Eventually,
) -> None:
    place = Place()
    world = World(Table(place))
    world.table.rows[0, b"old"] = encode(TimerRow(1, 10, "staging.email-requests", b"user", b"value", ()))
    world.now_ms = 100
    async with world.running():
        await eventually.awaited(lambda: world.published)
    assert [record.topic for record in world.published] == [EMAIL_REQUESTS]


async def test_a_row_that_names_an_unknown_topic_raises_an_alarm_and_fires_under_a_release_that_declares_it(
    eventually: Eventually,
) -> None:
    place = Place()
    world = World(Table(place))
    world.table.rows[0, b"new"] = encode(TimerRow(1, 10, "sms-later", b"user", b"value", ()))
    await world.timers.set(place, [timer("known", 20)])
    world.now_ms = 100
    with capture_logs() as logged:
        async with world.running():
            await eventually.awaited(lambda: world.fired == ["known"] and logged)
    (alarm,) = logged
    assert (alarm["event"], alarm["topic"], alarm["timer"]) == ("timer.unfit", "sms-later", "new")
    assert "schemas/topics.py" in alarm["why"]
    assert list(world.table.rows) == [(0, b"new")]

    declared = msgspec.structs.replace(SMS_INFO, name="sms-later")
    world.timers = Timers(world.table, world.publish, lambda: world.now_ms, Declared([declared]))
    async with world.running():
        await eventually.awaited(lambda: not world.table.rows)
    assert world.published[-1].topic == declared


def test_no_declared_name_ends_with_another_so_an_earlier_row_names_one_topic() -> None:
    names = [topic.name for topic in TOPICS]
    assert [(long, short) for long in names for short in names if long != short and long.endswith(short)] == []


def to(topic: AnyTopic, name: str, due_at_ms: int) -> Timer:
    return msgspec.structs.replace(timer(name, due_at_ms), topic=topic)


async def test_an_unreachable_topic_does_not_stall_the_timers_of_another(eventually: Eventually) -> None:
    place = Place()
    world = World(Table(place))
    reachable = world.unreachable[SMS_INFO] = asyncio.Event()
    await world.timers.set(place, [to(SMS_INFO, "stuck", 10), to(EMAIL_REQUESTS, "first", 20)])
    world.now_ms = 100
    async with world.running():
        await eventually.awaited(lambda: world.fired == ["first"])
        await world.timers.set(place, [to(EMAIL_REQUESTS, "second", 30)])
        await eventually.awaited(lambda: world.fired == ["first", "second"])
        await eventually.awaited(lambda: list(world.table.rows) == [(0, b"stuck")])
        reachable.set()
        await eventually.awaited(lambda: not world.table.rows)
    assert world.fired == ["first", "second", "stuck"]


async def test_what_arrived_of_a_publish_that_failed_does_not_fire_a_second_time(eventually: Eventually) -> None:
    place = Place()
    world = World(Table(place))
    world.refused = {b"refused"}
    await world.timers.set(place, [timer("before", 10), timer("refused", 20), timer("behind", 30)])
    world.now_ms = 100
    async with world.running():
        await eventually.awaited(lambda: list(world.table.rows) == [(0, b"refused")])
        world.refused = set()
        world.now_ms = 5_000
        await eventually.awaited(lambda: not world.table.rows)
    assert world.fired == ["before", "behind", "refused"]


async def test_timers_that_cannot_be_published_leave_others_of_their_topic_their_turn(eventually: Eventually) -> None:
    place = Place()
    world = World(Table(place))
    many = [f"refused-{number}" for number in range(FIRE_AT_MOST)]
    world.refused = {name.encode() for name in many}
    await world.timers.set(place, [*(timer(name, 10) for name in many), timer("good", 20)])
    world.now_ms = 100
    async with world.running():
        await eventually.awaited(lambda: world.fired == ["good"])


async def test_a_timer_that_is_too_large_does_not_hold_up_those_beside_it(eventually: Eventually) -> None:
    place = Place()
    world = World(Table(place))
    world.too_large = {b"large"}
    await world.timers.set(place, [timer("one", 10), timer("large", 10), timer("two", 10), timer("three", 10)])
    world.now_ms = 100
    async with world.running():
        await eventually.awaited(lambda: world.fired == ["one", "two", "three"])
        await eventually.awaited(lambda: list(world.table.rows) == [(0, b"large")])


async def test_a_timer_that_is_too_large_is_not_tried_every_second(eventually: Eventually) -> None:
    place = Place()
    world = World(Table(place))
    world.too_large = {b"large"}
    await world.timers.set(place, [timer("large", 10)])
    world.now_ms = 100
    async with world.running():
        await eventually.awaited(lambda: world.attempts == 1)
        await world.timers.set(place, [timer("other", 10 + 2 * RETRY_MS)])
        world.now_ms += 3 * RETRY_MS
        await eventually.awaited(lambda: world.fired == ["other"])
        assert world.attempts == 2
        world.too_large.clear()
        world.now_ms += UNFIT_RETRY_MS
        await eventually.awaited(lambda: world.fired == ["other", "large"])


async def test_a_timer_on_which_our_code_fails_ends_no_worker_and_holds_up_nothing(eventually: Eventually) -> None:
    place = Place()
    world = World(Table(place))
    world.failing = {b"bad"}
    await world.timers.set(place, [timer("one", 10), timer("bad", 10), timer("two", 10)])
    world.now_ms = 100
    async with world.running():
        await eventually.awaited(lambda: world.fired == ["one", "two"])
        await eventually.awaited(lambda: list(world.table.rows) == [(0, b"bad")])


async def test_a_row_that_is_no_timer_stays_and_the_others_fire(eventually: Eventually) -> None:
    place = Place()
    world = World(Table(place))
    world.table.rows[0, b"bad"] = b"\xc1"
    await world.timers.set(place, [timer("good", 10)])
    world.now_ms = 100
    async with world.running():
        await eventually.awaited(lambda: world.fired == ["good"])
    assert world.table.rows == {(0, b"bad"): b"\xc1"}


async def test_a_timer_that_is_cancelled_while_its_partition_is_read_does_not_fire(eventually: Eventually) -> None:
    place = Place()
    world = World(Table(place))
    await world.timers.set(place, [timer("cancelled", 10), timer("kept", 10)])
    async with world.table.one_at_a_time:
        cancelling = asyncio.create_task(world.timers.cancel(place, ["cancelled"]))
        await asyncio.sleep(0)
        world.timers._follow_assignment()
    await cancelling
    world.now_ms = 100
    async with world.running():
        await eventually.awaited(lambda: world.fired)
    assert world.fired == ["kept"]


async def test_a_timer_set_while_its_former_version_is_cancelled_fires(eventually: Eventually) -> None:
    place = Place()
    world = World(Table(place))
    await world.timers.set(place, [timer("reminder", 10)])
    world.timers._follow_assignment()
    async with world.table.one_at_a_time:
        cancelling = asyncio.create_task(world.timers.cancel(place, ["reminder"]))
        await asyncio.sleep(0)
        setting = asyncio.create_task(world.timers.set(place, [timer("reminder", 50)]))
        await asyncio.sleep(0)
    await asyncio.gather(cancelling, setting)
    world.now_ms = 100
    async with world.running():
        await eventually.awaited(lambda: world.fired == ["reminder"])


async def test_what_fired_just_before_a_new_epoch_fires_no_second_time(eventually: Eventually) -> None:
    place = Place()
    world = World(Table(place))
    await world.timers.set(place, [timer("reminder", 10)])

    def leave() -> None:
        place.ours = False
        world.table.places = [Place(epoch=2)]

    async with world.running():
        await eventually.awaited(lambda: world.timers._slots)
        world.on_publish = leave
        world.now_ms = 100
        await eventually.awaited(lambda: not world.table.rows)
    assert world.fired == ["reminder"]
