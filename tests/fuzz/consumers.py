"""The flows of all workers over stand-ins: each takes one record of anything, and must raise nothing."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from schemas import topics as t
from schemas.headers import Header
from streams.detection.counts import DetectionCounts
from streams.detection.offline_to_alerts import OfflineAlerts
from streams.digests.email_retries_to_email import EmailRetries
from tests.domain.detection.records import START_MS, Raw
from tests.streams.detection import detection_fakes
from tests.streams.detection.test_readings_to_alerts_and_aggregates import Bench, unit
from tests.streams.digests import digest_worlds, mail_world
from tests.streams.fakes import NOW_MS, FakeBatch, FakeRecord
from tests.streams.notifications import escalation_world, sms_world

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from schemas.topic import AnyTopic

Take = "Callable[[bytes], Awaitable[None]]"


class Offsets:
    """Each record has the next offset, a key and headers made of the same bytes."""

    def __init__(self, topic: AnyTopic) -> None:
        self._topic = topic
        self._next = 0

    def batch(self, value: bytes) -> Any:
        self._next += 1
        headers = [(Header.ID.value, value[:4_000]), (Header.TRACEPARENT.value, value[-55:])]
        batch = FakeBatch([], topic=self._topic.name)
        batch.records = [
            FakeRecord(value, value[:40] or None, self._next, self._topic.name, headers=headers, timestamp=NOW_MS)
        ]
        return batch


def _over(topic: AnyTopic, handle: Callable[[Any], Awaitable[None]]) -> Callable[[bytes], Awaitable[None]]:
    offsets = Offsets(topic)
    return lambda value: handle(offsets.batch(value))


def _detection() -> Callable[[bytes], Awaitable[None]]:
    bench, offsets = Bench(unit("harbor-vaccines"), unit("u")), iter(range(1 << 60))

    def take(value: bytes) -> Awaitable[None]:
        offset = next(offsets)
        key = value[:40] if offset % 3 == 0 else b"harbor-vaccines"
        return bench.handle(Raw(key, value, offset, START_MS, [("traceparent", value[-55:])]))

    return take


def _offline() -> Callable[[bytes], Awaitable[None]]:
    slot = detection_fakes.FakeSlot()
    broker = detection_fakes.FakeBroker()
    table, units = detection_fakes.FakeTable(slot), detection_fakes.FakeUnits(unit("harbor-vaccines"))
    flow = OfflineAlerts(broker.publish, table, units, lambda: NOW_MS, DetectionCounts())
    return _over(t.UNIT_CONNECTIVITY, flow.handle)


def _sms() -> Callable[[bytes], Awaitable[None]]:
    world, offsets = sms_world.World(), Offsets(t.SMS_CRITICAL)
    return lambda value: world.handle_batch(offsets.batch(value))


def _mail_retries() -> EmailRetries:
    world = digest_worlds.World(random.Random(1), NOW_MS)
    return EmailRetries(world.timers, world._publish, lambda: NOW_MS)


CONSUMERS: dict[str, tuple[AnyTopic, Callable[[], Callable[[bytes], Awaitable[None]]]]] = {
    "detection": (t.READINGS, _detection),
    "offline": (t.UNIT_CONNECTIVITY, _offline),
    "alerts": (t.ALERTS, lambda: _over(t.ALERTS, escalation_world.World()._alerts.handle)),
    "alert-commands": (t.ALERT_COMMANDS, lambda: _over(t.ALERT_COMMANDS, escalation_world.World()._commands.handle)),
    "escalations": (t.ESCALATIONS, lambda: _over(t.ESCALATIONS, escalation_world.World()._escalations.handle)),
    "sms": (t.SMS_CRITICAL, _sms),
    "sms-retries": (t.SMS_RETRIES, lambda: _over(t.SMS_RETRIES, sms_world.World().stages.retries.handle)),
    "sms-receipts": (t.SMS_RECEIPTS, lambda: _over(t.SMS_RECEIPTS, sms_world.World().stages.receipts.handle)),
    "digest-preferences": (
        t.DIGEST_PREFERENCES,
        lambda: _over(t.DIGEST_PREFERENCES, digest_worlds.World(random.Random(1), NOW_MS).take_preferences),
    ),
    "digest-runs": (
        t.DIGEST_RUNS,
        lambda: _over(t.DIGEST_RUNS, digest_worlds.World(random.Random(1), NOW_MS).take_runs),
    ),
    "digest-jobs": (t.DIGEST_JOBS, lambda: _over(t.DIGEST_JOBS, mail_world.World().jobs.handle)),
    "email-requests": (t.EMAIL_REQUESTS, lambda: _over(t.EMAIL_REQUESTS, mail_world.World().mailing.handle)),
    "email-retries": (t.EMAIL_RETRIES, lambda: _over(t.EMAIL_RETRIES, _mail_retries().handle)),
}
