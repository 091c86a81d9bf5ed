from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from broker.settings import KafkaSettings
from schemas import messages as m
from schemas.http.alerts import MAX_SILENCE_MINUTES
from schemas.topic import DAY_MS
from streams.notifications.closed_alerts import COMMANDS_REMEMBERED_MS, ClosedAlerts
from tests.streams.fakes import NOW_MS, FakeRecord

if TYPE_CHECKING:
    from streams.engine.consumer import Record
    from tests.conftest import Eventually

LAPSE_MS = 4 * 3_600_000

pytestmark = pytest.mark.anyio

COMMANDS = TopicPartition("alert-commands", 0)


class FakeBroker:
    """Says how far the topic reached when it was asked, once it may answer."""

    def __init__(self) -> None:
        self.end = 0
        self.questions = 0
        self.answers = asyncio.Event()

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        self.questions += 1
        end = self.end
        await self.answers.wait()
        return {COMMANDS: end}


class UnreachableBroker:
    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        raise KafkaConnectionError


class World:
    def __init__(self) -> None:
        self.now_ms = NOW_MS
        self.closed = ClosedAlerts(KafkaSettings(), lambda: self.now_ms, LAPSE_MS)
        self.broker = FakeBroker()
        self.closed._asker = self.broker
        self.closed._read_to = {COMMANDS: 0}

    def read(self, message: object) -> None:
        record = FakeRecord(m.encode(message), timestamp=self.now_ms)
        self.closed.take(cast("Record", record))

    async def read_to(self, offset: int) -> None:
        self.closed._read_to[COMMANDS] = offset
        async with self.closed._progress:
            self.closed._progress.notify_all()


def acknowledge(alert_id: str) -> m.Acknowledge:
    return m.Acknowledge(alert_id=alert_id, unit_id="unit-1", organization_id="org-1", user_id="ada", at_ms=NOW_MS)


async def test_it_waits_until_the_topics_were_read_as_far_as_they_reached(eventually: Eventually) -> None:
    world = World()
    world.broker.end = 3
    world.broker.answers.set()
    waiting = asyncio.create_task(world.closed.up_to_date())
    await eventually.awaited(lambda: world.broker.questions == 1)
    await world.read_to(2)
    await asyncio.sleep(0)
    assert not waiting.done()
    await world.read_to(3)
    await waiting


async def test_who_asks_while_a_question_is_under_way_does_not_take_its_answer(eventually: Eventually) -> None:
    """What was published in between would be missing."""
    world = World()
    first = asyncio.create_task(world.closed.up_to_date())
    await eventually.awaited(lambda: world.broker.questions == 1)
    world.broker.end = 5
    later = [asyncio.create_task(world.closed.up_to_date()) for _ in range(10)]
    await asyncio.sleep(0)
    world.broker.answers.set()
    await first
    await eventually.awaited(lambda: world.broker.questions == 2)
    await asyncio.sleep(0)
    assert not any(task.done() for task in later)
    await world.read_to(5)
    await asyncio.gather(*later)
    assert world.broker.questions == 2


async def test_a_broker_that_does_not_answer_in_time_is_told_as_such() -> None:
    world = World()
    with pytest.raises(TimeoutError):
        await world.closed.up_to_date(limit_s=0.01)
    world = World()
    world.closed._asker = UnreachableBroker()
    with pytest.raises(TimeoutError, match="how far alert-commands, alerts reach"):
        await world.closed.up_to_date()


def resolved(alert_id: str) -> m.AlertResolved:
    return m.AlertResolved(
        alert_id=alert_id,
        unit_id="unit-1",
        organization_id="org-1",
        rule_id="high",
        kind=m.AlertKind.TEMPERATURE_HIGH,
        severity=m.Severity.CRITICAL,
        started_at_ms=NOW_MS,
        at_ms=NOW_MS,
    )


async def test_an_alerts_end_is_forgotten_after_a_day() -> None:
    world = World()
    world.read(resolved("first"))
    world.now_ms += DAY_MS
    world.read(resolved("second"))
    assert world.closed.why_closed("first", m.Severity.CRITICAL, world.now_ms) == "resolved"
    world.now_ms += 1
    world.read(resolved("third"))
    assert world.closed.why_closed("first", m.Severity.CRITICAL, world.now_ms) is None
    assert len(world.closed) == 2


async def test_an_acknowledgement_lapses_and_a_newer_one_counts_again() -> None:
    world = World()
    world.read(acknowledge("alert-1"))
    world.now_ms += LAPSE_MS - 1
    assert world.closed.why_closed("alert-1", m.Severity.CRITICAL, world.now_ms) == "acknowledged"
    world.now_ms += 1
    assert world.closed.why_closed("alert-1", m.Severity.CRITICAL, world.now_ms) is None
    world.read(acknowledge("alert-1"))
    assert world.closed.why_closed("alert-1", m.Severity.CRITICAL, world.now_ms) == "acknowledged"


@pytest.mark.parametrize("severity", [m.Severity.WARNING, m.Severity.INFO])
async def test_only_the_acknowledgement_of_a_critical_alert_lapses(severity: m.Severity) -> None:
    world = World()
    world.read(acknowledge("alert-1"))
    world.now_ms += 2 * LAPSE_MS
    assert world.closed.why_closed("alert-1", severity, world.now_ms) == "acknowledged"
    assert world.closed.why_closed("alert-1", m.Severity.CRITICAL, world.now_ms) is None


async def test_a_second_acknowledgement_does_not_prolong_the_first_one() -> None:
    """The escalation counts from the first: a reminder that it asks for must not be held back here."""
    world = World()
    world.read(acknowledge("alert-1"))
    world.now_ms += LAPSE_MS - 1
    world.read(acknowledge("alert-1"))
    world.now_ms += 1
    assert world.closed.why_closed("alert-1", m.Severity.CRITICAL, world.now_ms) is None


async def test_a_command_is_remembered_for_longer_than_the_longest_silence() -> None:
    """A reminder that a silence put off must find that silence until it ends."""
    world = World()
    until_ms = NOW_MS + MAX_SILENCE_MINUTES * 60_000
    silence = msgspec.convert(
        msgspec.to_builtins(acknowledge("first")) | {"type": "silence", "until_at_ms": until_ms}, m.Silence
    )
    world.read(silence)
    world.now_ms = until_ms - 1
    world.read(acknowledge("second"))
    assert world.closed.why_closed("first", m.Severity.CRITICAL, world.now_ms) == "silenced"
    world.now_ms += COMMANDS_REMEMBERED_MS + 1
    world.read(acknowledge("third"))
    assert len(world.closed) == 1
