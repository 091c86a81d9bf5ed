"""The workers: one Faust app each, built from the environment when it is asked for.

`freshtrack worker NAME` runs one. `faust -A streams.apps:detection worker --without-web` works too: Faust looks up the
name, and the module builds the app.
"""

# ruff: noqa: E402 - the event loop must be chosen before Faust is imported
from __future__ import annotations

import mode.loop

mode.loop.use("uvloop")

import random
import time
from typing import TYPE_CHECKING, Any

import structlog

from schemas import messages as m
from schemas import topics as t
from streams.alerts_to_sms import Paging
from streams.consumer import each_batch
from streams.engine.app import create_app
from streams.engine.publish import Outgoing, publish
from streams.metrics import detection_metrics, notifications_metrics, serve_metrics
from streams.notifications_settings import NotificationsSettings
from streams.readings_to_alerts import Detection, fence_of
from streams.reference import Replica, load_before_work
from streams.settings import WorkerSettings
from streams.sms_ledger import Ledger, fence_of_entry
from streams.sms_outcomes import Outcomes
from streams.sms_retries_to_sms import Retries
from streams.sms_to_provider import Dispatch
from streams.telnyx import TelnyxClient
from streams.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import faust

    from streams.consumer import Batch

log = structlog.get_logger(__name__)


def now_ms() -> int:
    return int(time.time() * 1000)


def build_detection() -> faust.App:
    """`readings` → thresholds → `alerts`."""
    settings = WorkerSettings()
    app = create_app("detection", settings, batched={settings.topic(t.READINGS.name)}, fence_of=fence_of)
    units = Replica(t.UNITS, m.UnitConfig, settings)
    load_before_work(app, [units])
    states = app.Table("unit-states", partitions=t.READINGS.partitions, key_type=bytes, value_type=bytes)
    flow = Detection(_publisher(app), states, units, settings.topic, now_ms)
    _agent(app, settings.topic(t.READINGS.name), flow.handle)
    serve_metrics(app, settings.metrics_port, detection_metrics(flow.counts, [units]))
    return app


def build_notifications() -> faust.App:
    """`alerts` → SMS requests → the provider → outcomes, retries, dead letters."""
    settings = NotificationsSettings()
    flows = (t.ALERTS, *t.SMS_LANES.values(), t.SMS_RETRIES)
    app = create_app(
        "notifications", settings, batched={settings.topic(topic.name) for topic in flows}, fence_of=fence_of_entry
    )
    units = Replica(t.UNITS, m.UnitConfig, settings)
    contacts = Replica(t.CONTACTS, m.Contact, settings)
    load_before_work(app, [units, contacts])
    ledger = Ledger(app.Table("sms-ledger", partitions=t.SMS_CRITICAL.partitions, key_type=bytes, value_type=bytes))
    timer_table = app.Table("sms-timers", partitions=t.SMS_RETRIES.partitions, key_type=bytes, value_type=bytes)
    send = _publisher(app)
    outcomes = Outcomes(send, settings.topic, now_ms)
    timers = Timers(timer_table, send, now_ms)
    dispatch = Dispatch(
        provider=TelnyxClient(settings.telnyx()),
        contacts=contacts,
        ledger=ledger,
        outcomes=outcomes,
        concurrency=settings.sms_concurrency,
        now_ms=now_ms,
        rng=random.SystemRandom(),
    )
    _agent(app, settings.topic(t.ALERTS.name), Paging(send, units, contacts, settings.topic, now_ms).handle)
    for lane in t.SMS_LANES.values():
        _agent(app, settings.topic(lane.name), dispatch.handle)
    _agent(app, settings.topic(t.SMS_RETRIES.name), Retries(timers, outcomes, settings.topic).handle)
    app.task(timers.run)
    serve_metrics(app, settings.metrics_port, notifications_metrics(dispatch.decided, timers, [units, contacts]))
    return app


APPS: dict[str, Callable[[], faust.App]] = {"detection": build_detection, "notifications": build_notifications}


def __getattr__(name: str) -> faust.App:
    """`streams.apps:detection` is an app: built only now, so that importing this module needs no broker."""
    if name in APPS:
        return APPS[name]()
    raise AttributeError(f"there is no worker {name!r}; there are {', '.join(APPS)}")


def _agent(app: faust.App, topic: str, handle: Callable[[Batch], Awaitable[None]]) -> None:
    async def flow(stream: Any) -> None:  # noqa: ANN401 - Faust ships no types
        await each_batch(app, stream, handle)

    app.agent(app.topic(topic, key_serializer="raw", value_serializer="raw"), name=f"flow.{topic}")(flow)


def _publisher(app: faust.App) -> Callable[[Sequence[Outgoing]], Awaitable[None]]:
    async def send(records: Sequence[Outgoing]) -> None:
        await publish(app, records)

    return send
