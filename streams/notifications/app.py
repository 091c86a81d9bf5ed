"""The worker `notifications`: `alerts` → SMS requests → the provider → outcomes, retries, dead letters."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

from domain.notification.phone import phone_problem
from schemas import messages as m
from schemas import topics as t
from streams.engine.app import create_app
from streams.engine.applied_offset import applied_offset_of
from streams.engine.expiry import Expiry
from streams.engine.global_table import GlobalTable, load_before_work
from streams.engine.metrics import serve_metrics
from streams.engine.timers import Timers
from streams.engine.wiring import agent, dead_letters, now_ms, publisher
from streams.notifications.alert_commands_to_sms import AlertCommands
from streams.notifications.alert_texts import AlertTexts
from streams.notifications.alerts_to_sms import Paging
from streams.notifications.chain_times import ChainTimes
from streams.notifications.closed_alerts import ClosedAlerts
from streams.notifications.contact_changes import ContactChanges
from streams.notifications.escalation_states import EscalationStates, is_over
from streams.notifications.escalations_to_sms import Reminders
from streams.notifications.fallback import Fallback
from streams.notifications.inbound_to_replies import Inbound
from streams.notifications.ledger import is_over as row_is_over
from streams.notifications.metrics import notifications_metrics
from streams.notifications.page_emails import PageEmails
from streams.notifications.settings import POLLS_AT_ONCE, NotificationsSettings
from streams.notifications.stages import Surroundings, build_stages
from streams.notifications.telnyx.client import TelnyxClient

if TYPE_CHECKING:
    from collections.abc import Callable

    import faust

    from streams.notifications.stages import Stages

FLOWS = (t.ALERTS, t.ALERT_COMMANDS, t.ESCALATIONS, *t.SMS_LANES.values(), t.SMS_RETRIES, t.SMS_RECEIPTS, t.SMS_INBOUND)


def build() -> faust.App:
    settings = NotificationsSettings()
    # The plan of numbers is loaded by the first question, which would otherwise be the first alert.
    phone_problem(settings.telnyx_from)
    app = create_app("notifications", settings, batched=FLOWS, applied_offset_of=applied_offset_of)
    units = GlobalTable(t.UNITS, m.UnitConfig, settings)
    contacts = GlobalTable(t.CONTACTS, m.Contact, settings)
    organizations = GlobalTable(t.ORGANIZATIONS, m.Organization, settings)
    closed = ClosedAlerts(settings, now_ms, round(settings.acknowledgement_lapse_s * 1000))
    load_before_work(app, [units, contacts, organizations, closed])
    count = settings.partitions(t.SMS_CRITICAL)
    ledger_table, timer_table, escalations = (
        app.Table(name, partitions=count, key_type=bytes, value_type=bytes)
        for name in ("sms-ledger", "sms-timers", "escalations")
    )
    publish, policy = publisher(app), settings.policy()
    timers, emails = Timers(timer_table, publish, now_ms), PageEmails(now_ms, settings.second_way_s)
    stages = build_stages(
        Surroundings(
            provider=TelnyxClient(settings.telnyx()),
            table=ledger_table,
            timers=timers,
            contacts=contacts,
            organizations=organizations,
            emails=emails,
            closed=closed,
            publish=publish,
            policy=policy,
            now_ms=now_ms,
            rng=random.SystemRandom(),
        ),
        limits=settings.limits(count),
        owned=lambda: [slot.partition for slot in ledger_table.owned()],
        polls_at_once=POLLS_AT_ONCE,
    )
    texts, times = AlertTexts(units, contacts, now_ms), ChainTimes(settings.escalation(), organizations)
    fallback = Fallback(texts, emails, organizations, now_ms)
    states = EscalationStates(table=escalations, timers=timers, publish=publish, now_ms=now_ms)
    flow = partial(agent, app, set_aside=dead_letters(app, t.SMS_DLQ, publish))
    flow(t.ALERTS, Paging(states, texts, fallback, now_ms, times, settings.all_clear).handle)
    flow(t.ALERT_COMMANDS, AlertCommands(states, texts, now_ms, times).handle)
    flow(t.ESCALATIONS, Reminders(states, texts, fallback, closed, now_ms, times).handle)
    _send(app, flow, settings.queued_batches, count, stages)
    flow(t.SMS_INBOUND, Inbound(contacts, organizations, emails, publish, now_ms).handle)
    app.task(timers.run)
    app.task(ContactChanges(escalations, contacts, publish, now_ms).run)
    _forget(app, escalations, ledger_table, policy.window_ms)
    tables = (units, contacts, organizations)
    serve_metrics(app, settings.metrics_port, notifications_metrics(stages, texts, timers, tables))
    return app


def _send(app: faust.App, flow: Callable[..., None], at_once: int, partitions: int, stages: Stages) -> None:
    """The flows of the SMS themselves."""
    for lane in t.SMS_LANES.values():
        flow(lane, partial(stages.sms.handle, lane), at_once=at_once)
    flow(t.SMS_RETRIES, stages.retries.handle, at_once=partitions)
    flow(t.SMS_RECEIPTS, stages.receipts.handle, at_once=partitions)
    app.task(stages.sms.run)
    app.task(stages.second_way.run)


def _forget(app: faust.App, escalations: faust.Table, ledger: faust.Table, window_ms: int) -> None:
    """What is over expires from the tables."""
    app.task(Expiry("escalations", escalations, lambda _, raw: is_over(raw, now_ms())).run)
    app.task(Expiry("sms-ledger", ledger, lambda key, raw: row_is_over(key, raw, now_ms(), window_ms)).run)
