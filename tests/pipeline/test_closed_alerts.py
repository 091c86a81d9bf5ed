"""What a worker knows of acknowledgements, silences and ends, asked while others publish them."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from broker.settings import KafkaSettings
from schemas import messages as m
from schemas.messages import encode
from schemas.topic import DAY_MS
from streams.notifications.closed_alerts import ClosedAlerts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.pipeline.conftest import Space

pytestmark = [pytest.mark.broker, pytest.mark.anyio]

NOW_MS = int(time.time() * 1000)
ABOUT = {"unit_id": "unit-1", "organization_id": "org-1"}


def acknowledge(alert_id: str) -> m.Acknowledge:
    return m.Acknowledge(alert_id=alert_id, user_id="ada", at_ms=NOW_MS, **ABOUT)


def silence(alert_id: str, until_at_ms: int) -> m.Silence:
    return m.Silence(alert_id=alert_id, user_id="ada", at_ms=NOW_MS, until_at_ms=until_at_ms, **ABOUT)


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


@asynccontextmanager
async def following(space: Space) -> AsyncIterator[ClosedAlerts]:
    settings = KafkaSettings(bootstrap_servers=space.bootstrap, topic_prefix=space.prefix)
    closed = ClosedAlerts(settings, lambda: int(time.time() * 1000), 14_400_000)
    async with closed:
        yield closed


def publish(space: Space, topic: str, message: object, key: str = "unit-1", timestamp_ms: int = 0) -> None:
    space.producer.produce(space.topic(topic), key=key, value=encode(message), timestamp=timestamp_ms or NOW_MS)
    space.flush()


async def test_what_was_published_before_the_start_is_known_at_once_but_no_end_that_is_older_than_a_day(
    space: Space,
) -> None:
    before_yesterday_ms = NOW_MS - DAY_MS - 60_000
    publish(
        space, "alert-commands", silence("last week", NOW_MS + DAY_MS), key="unit-2", timestamp_ms=NOW_MS - 7 * DAY_MS
    )
    publish(space, "alerts", resolved("yesterday"), key="unit-2", timestamp_ms=before_yesterday_ms)
    publish(space, "alerts", resolved("yesterday, too"), timestamp_ms=before_yesterday_ms)
    publish(space, "alert-commands", acknowledge("alert-1"))
    publish(space, "alerts", resolved("alert-2"))
    async with following(space) as closed:
        assert closed.why_closed("alert-1", m.Severity.CRITICAL, NOW_MS) == "acknowledged"
        assert closed.why_closed("alert-2", m.Severity.CRITICAL, NOW_MS) == "resolved"
        assert closed.why_closed("last week", m.Severity.CRITICAL, NOW_MS) == "silenced"
        assert closed.why_closed("yesterday", m.Severity.CRITICAL, NOW_MS) is None
        assert closed.why_closed("yesterday, too", m.Severity.CRITICAL, NOW_MS) is None
        assert closed.why_closed("alert-3", m.Severity.CRITICAL, NOW_MS) is None


async def test_whatever_was_published_before_the_question_is_known_after_it(space: Space) -> None:
    async with following(space) as closed:
        for number in range(20):
            publish(space, "alert-commands", acknowledge(f"alert-{number}"), key=f"unit-{number}")
            await closed.up_to_date()
            assert closed.why_closed(f"alert-{number}", m.Severity.CRITICAL, NOW_MS) == "acknowledged"


async def test_many_who_ask_at_once_are_all_answered(space: Space) -> None:
    async with following(space) as closed:
        publish(space, "alert-commands", acknowledge("alert-1"))
        begin = time.monotonic()
        await asyncio.gather(*(closed.up_to_date() for _ in range(200)))
        assert closed.why_closed("alert-1", m.Severity.CRITICAL, NOW_MS) == "acknowledged"
        assert time.monotonic() - begin < 1


async def test_a_silence_ends_by_its_time_or_by_a_newer_order(space: Space) -> None:
    async with following(space) as closed:
        publish(space, "alert-commands", silence("alert-1", NOW_MS + 1000))
        publish(space, "alert-commands", silence("alert-2", NOW_MS + 1000))
        publish(space, "alert-commands", b"not a command")
        publish(space, "alert-commands", m.NotifyNow(alert_id="alert-2", user_id="ada", at_ms=NOW_MS, **ABOUT))
        await closed.up_to_date()
        assert closed.why_closed("alert-1", m.Severity.CRITICAL, NOW_MS + 999) == "silenced"
        assert closed.silenced_until_ms("alert-1") == NOW_MS + 1000
        assert closed.why_closed("alert-1", m.Severity.CRITICAL, NOW_MS + 1000) is None
        assert closed.why_closed("alert-2", m.Severity.CRITICAL, NOW_MS) is None
        publish(space, "alert-commands", acknowledge("alert-1"))
        publish(space, "alert-commands", silence("alert-1", NOW_MS + 1000))
        await closed.up_to_date()
        assert closed.why_closed("alert-1", m.Severity.CRITICAL, NOW_MS + 1000) == "acknowledged"
        # The acknowledgement may lapse before the silence does.
        assert closed.silenced_until_ms("alert-1") == NOW_MS + 1000
