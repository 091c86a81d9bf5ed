"""The worker `notifications`: `alerts` → SMS requests → the provider → outcomes, retries, dead letters."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from schemas import messages as m
from schemas import topics as t
from streams.alerts_to_sms import Paging
from streams.apps.wiring import agent, now_ms, publisher
from streams.engine.app import create_app
from streams.metrics import notifications_metrics, serve_metrics
from streams.notifications_settings import NotificationsSettings
from streams.reference import Replica, load_before_work
from streams.sms_ledger import Ledger, fence_of_entry
from streams.sms_outcomes import Outcomes
from streams.sms_retries_to_sms import Retries
from streams.sms_to_provider import Dispatch
from streams.telnyx import TelnyxClient
from streams.timers import Timers

if TYPE_CHECKING:
    import faust


def build() -> faust.App:
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
    send = publisher(app)
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
    agent(app, settings.topic(t.ALERTS.name), Paging(send, units, contacts, settings.topic, now_ms).handle)
    for lane in t.SMS_LANES.values():
        agent(app, settings.topic(lane.name), dispatch.handle)
    agent(app, settings.topic(t.SMS_RETRIES.name), Retries(timers, outcomes, settings.topic).handle)
    app.task(timers.run)
    serve_metrics(app, settings.metrics_port, notifications_metrics(dispatch.decided, timers, [units, contacts]))
    return app
