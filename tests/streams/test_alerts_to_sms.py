from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from schemas import messages as m
from streams.alerts_to_sms import Paging
from tests.streams.fakes import NOW_MS, FakeBatch, FakeBroker, FakeReference

if TYPE_CHECKING:
    from streams.consumer import Batch

pytestmark = pytest.mark.anyio

UNIT = m.UnitConfig(unit_id="unit-1", organization_id="org-1", name="Vaccines", display_unit="F")


def contact(user_id: str, organization_id: str = "org-1") -> m.Contact:
    return m.Contact(user_id=user_id, organization_id=organization_id, name=user_id, phone_e164="+12025550101")


def triggered(severity: m.Severity = m.Severity.CRITICAL, *, paging: bool = True) -> m.AlertTriggered:
    return m.AlertTriggered(
        alert_id="alert-1",
        unit_id="unit-1",
        organization_id="org-1",
        rule_id="rule-1",
        kind=m.AlertKind.TEMPERATURE_HIGH,
        severity=severity,
        started_at_ms=NOW_MS,
        at_ms=NOW_MS,
        temperature_c=10.0,
        limit_c=8.0,
        paging=paging,
    )


class World:
    def __init__(self) -> None:
        self.broker = FakeBroker()
        self.contacts = FakeReference(ada=contact("ada"), ben=contact("ben"), zoe=contact("zoe", "org-2"))
        self.paging = Paging(self.broker.publish, FakeReference(unit_1=UNIT), self.contacts, str, lambda: NOW_MS)

    async def handle(self, *alerts: object) -> None:
        await self.paging.handle(cast("Batch", FakeBatch(alerts, topic="alerts")))

    def requests(self, lane: str = "sms-critical") -> list[m.SmsRequest]:
        return self.broker.decoded(lane, m.SmsRequest)


async def test_each_contact_on_duty_gets_one_request_in_the_lane_of_the_severity() -> None:
    world = World()
    await world.handle(triggered(m.Severity.WARNING))
    assert [request.user_id for request in world.requests("sms-warning")] == ["ada", "ben"]
    assert world.requests("sms-critical") == []


async def test_the_text_is_in_the_unit_of_the_organization() -> None:
    world = World()
    await world.handle(triggered())
    assert "Vaccines" in world.requests()[0].text
    assert "50.0 F" in world.requests()[0].text


async def test_a_re_run_makes_the_same_requests() -> None:
    world = World()
    await world.handle(triggered())
    await world.handle(triggered())
    ids = [request.request_id for request in world.requests()]
    assert ids[:2] == ids[2:]
    assert len(set(ids)) == 2


async def test_a_silent_alert_and_a_resolved_one_ask_for_nothing() -> None:
    world = World()
    resolved = m.AlertResolved(
        alert_id="alert-1",
        unit_id="unit-1",
        organization_id="org-1",
        rule_id="rule-1",
        kind=m.AlertKind.TEMPERATURE_HIGH,
        severity=m.Severity.CRITICAL,
        started_at_ms=NOW_MS,
        at_ms=NOW_MS,
    )
    await world.handle(triggered(paging=False), resolved)
    assert world.broker.published == []


async def test_a_new_contact_is_told_from_the_next_alert_on() -> None:
    world = World()
    await world.handle(triggered())
    world.contacts._entries["new"] = contact("new")
    world.contacts.version += 1
    await world.handle(triggered())
    assert [request.user_id for request in world.requests()] == ["ada", "ben", "ada", "ben", "new"]


async def test_an_unreadable_alert_is_a_dead_letter_and_stops_nobody() -> None:
    world = World()
    await world.handle(b"{}", triggered())
    assert len(world.requests()) == 2
    (letter,) = world.broker.decoded("sms-dlq", m.UnreadableRecord)
    assert (letter.topic, letter.offset) == ("alerts", 0)
