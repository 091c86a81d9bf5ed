"""The flow that judges silence by gateway, with fakes for broker, table, units and clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from schemas import messages as m
from streams.detection.counts import DetectionCounts
from streams.detection.offline_to_alerts import OfflineAlerts
from streams.engine.publish import PublishError
from tests.domain.detection.records import Raw
from tests.streams.detection.detection_fakes import FakeBroker, FakeSlot, FakeTable, FakeUnits, batch_of

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio

MINUTE = 60_000
START = 1_795_000_000_000


def unit(unit_id: str, gateway_id: str | None = "g") -> m.UnitConfig:
    return m.UnitConfig(unit_id=unit_id, organization_id="org", name="Fridge", gateway_id=gateway_id)


def silent(unit_id: str, group: str) -> m.UnitOffline:
    return m.UnitOffline(
        unit_id=unit_id, organization_id="org", group=group, since_at_ms=START, at_ms=START + 15 * MINUTE
    )


class World(FakeBroker):
    def __init__(self, *configs: m.UnitConfig) -> None:
        super().__init__()
        self.units = FakeUnits(*configs)
        self.slot = FakeSlot()
        self.table = FakeTable(self.slot)
        self.now_ms = START + 15 * MINUTE
        self.counts = DetectionCounts()
        self.start()

    def start(self) -> None:
        """A new process over the same table."""
        self.offline = OfflineAlerts(self.publish, self.table, self.units, lambda: self.now_ms, self.counts)

    async def handle(self, *values: m.UnitConnectivity | bytes, offset: int = 0) -> None:
        raw = [value if isinstance(value, bytes) else m.encode(value) for value in values]
        records = [Raw(b"group", value, offset + index, self.now_ms) for index, value in enumerate(raw)]
        await self.offline.handle(batch_of(records, topic="test.unit-silences"))

    async def look_after(self, minutes: float) -> None:
        self.now_ms = START + int(minutes * MINUTE)
        await self.offline.look()


def told(alerts: Sequence[m.Alert]) -> list[tuple[str, str]]:
    return [(type(alert).__name__, alert.kind) for alert in alerts]


async def test_all_units_of_a_gateway_are_one_alert() -> None:
    world = World(unit("a"), unit("b"))
    await world.handle(silent("a", "gateway:org/g"), silent("b", "gateway:org/g"))
    await world.look_after(100)
    assert told(world.alerts()) == [("AlertTriggered", "gateway_offline")]
    assert world.sent[0].key == b"a"
    assert world.counts.alerts == {"triggered": 1}


async def test_a_lone_silent_unit_is_told_when_its_neighbours_had_their_time_also_by_a_new_process() -> None:
    world = World(unit("a"), unit("b"))
    await world.handle(silent("a", "gateway:org/g"))
    await world.look_after(19)
    world.start()
    await world.look_after(20)
    assert world.alerts() == []
    await world.look_after(21)
    await world.look_after(22)
    assert told(world.alerts()) == [("AlertTriggered", "sensor_offline")]


async def test_a_unit_that_is_heard_in_time_is_not_told() -> None:
    world = World(unit("a"), unit("b"))
    await world.handle(silent("a", "gateway:org/g"))
    await world.handle(m.UnitOnline(unit_id="a", group="gateway:org/g", at_ms=START + 16 * MINUTE), offset=1)
    await world.look_after(60)
    assert world.alerts() == []


async def test_a_batch_that_was_handled_already_tells_nothing_and_is_written_again() -> None:
    world = World(unit("u", None))
    await world.handle(silent("u", "unit:u"))
    before = dict(world.table.values)
    await world.handle(silent("u", "unit:u"))
    assert told(world.alerts()) == [("AlertTriggered", "sensor_offline")]
    assert world.table.values == before
    assert world.table.written == [{b"unit:u"}, {b"unit:u"}]


async def test_nothing_is_stored_before_the_alert_is_out() -> None:
    world = World(unit("u", None))
    world.fail = PublishError
    with pytest.raises(PublishError):
        await world.handle(silent("u", "unit:u"))
    assert world.table.values == {}


async def test_a_look_whose_alert_does_not_get_out_is_made_again() -> None:
    world = World(unit("a"), unit("b"))
    await world.handle(silent("a", "gateway:org/g"))
    world.fail = PublishError
    await world.look_after(30)
    world.fail = None
    await world.look_after(31)
    assert told(world.alerts()) == [("AlertTriggered", "sensor_offline")]


async def test_a_partition_that_went_is_left_alone() -> None:
    world = World(unit("a"), unit("b"))
    await world.handle(silent("a", "gateway:org/g"))
    world.slot.ours = False
    await world.look_after(60)
    assert world.alerts() == []


async def test_what_cannot_be_read_is_a_dead_letter() -> None:
    world = World(unit("u", None))
    await world.handle(b"{", silent("u", "unit:u"))
    (letter,) = world.letters()
    assert (letter.topic, letter.offset, letter.reason) == (
        "test.unit-silences",
        0,
        m.DeadLetterReason.WRONG_SHAPE,
    )
    assert len(world.alerts()) == 1


async def test_gateways_of_one_name_in_two_organizations_are_judged_apart() -> None:
    other = m.UnitConfig(unit_id="b", organization_id="other", name="Fridge", gateway_id="g")
    world = World(unit("a"), other)
    await world.handle(silent("a", "gateway:org/g"))
    assert told(world.alerts()) == [("AlertTriggered", "sensor_offline")]
    assert [alert.organization_id for alert in world.alerts()] == ["org"]
