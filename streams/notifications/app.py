"""The worker `notifications`: `alerts` → SMS requests → the provider → outcomes, retries, dead letters."""

from __future__ import annotations

import random
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
from streams.engine.wiring import agent, now_ms, publisher
from streams.notifications.alert_commands_to_sms import Orders
from streams.notifications.alert_texts import AlertTexts
from streams.notifications.alerts_to_sms import Paging
from streams.notifications.closed_alerts import ClosedAlerts
from streams.notifications.decisions import Decisions
from streams.notifications.escalation_states import EscalationStates, is_over
from streams.notifications.escalations_to_sms import Reminders
from streams.notifications.ledger import Ledger
from streams.notifications.ledger import is_over as row_is_over
from streams.notifications.metrics import notifications_metrics
from streams.notifications.outcomes import Outcomes
from streams.notifications.plans import Planner
from streams.notifications.rate_limiter import Gate
from streams.notifications.receipts_to_sms import Receipts
from streams.notifications.settings import QUESTIONS_AT_ONCE, NotificationsSettings
from streams.notifications.sms_retries_to_sms import Retries
from streams.notifications.sms_to_provider import Dispatch
from streams.notifications.telnyx.client import TelnyxClient

if TYPE_CHECKING:
    import faust

PARTITIONS = t.SMS_CRITICAL.partitions


def build() -> faust.App:
    settings = NotificationsSettings()
    # The plan of numbers is loaded by the first question, which would otherwise be the first alert.
    phone_problem(settings.telnyx_from)
    flows = (t.ALERTS, t.ALERT_COMMANDS, t.ESCALATIONS, *t.SMS_LANES.values(), t.SMS_RETRIES, t.SMS_RECEIPTS)
    app = create_app(
        "notifications",
        settings,
        batched=flows,
        applied_offset_of=applied_offset_of,
    )
    units = GlobalTable(t.UNITS, m.UnitConfig, settings)
    contacts = GlobalTable(t.CONTACTS, m.Contact, settings)
    closed = ClosedAlerts(settings, now_ms)
    load_before_work(app, [units, contacts, closed])
    policy = settings.policy()
    ledger_table = app.Table("sms-ledger", partitions=PARTITIONS, key_type=bytes, value_type=bytes)
    timer_table = app.Table("sms-timers", partitions=PARTITIONS, key_type=bytes, value_type=bytes)
    ledger = Ledger(ledger_table)
    send = publisher(app)
    outcomes = Outcomes(settings.topic, now_ms)
    timers = Timers(timer_table, send, now_ms)
    provider = TelnyxClient(settings.telnyx())
    rng = random.SystemRandom()
    decisions = Decisions(
        publish=send,
        outcomes=outcomes,
        ledger=ledger,
        timers=timers,
        topic_name=settings.topic,
        policy=policy,
        now_ms=now_ms,
    )
    gate = Gate(settings.limits(PARTITIONS), lambda: [slot.partition for slot in ledger_table.owned()], now_ms)
    dispatch = Dispatch(
        provider=provider,
        planner=Planner(ledger, contacts, closed, PARTITIONS, policy),
        decisions=decisions,
        gate=gate,
        ledger=ledger,
        outcomes=outcomes,
        closed=closed,
        publish=send,
        policy=policy,
        now_ms=now_ms,
        rng=rng,
    )
    receipts = Receipts(
        provider=provider,
        publish=send,
        outcomes=outcomes,
        ledger=ledger,
        decisions=decisions,
        timers=timers,
        closed=closed,
        policy=policy,
        now_ms=now_ms,
        rng=rng,
        questions_at_once=QUESTIONS_AT_ONCE,
    )
    retries = Retries(timers, outcomes, receipts, send, settings.topic)
    texts = AlertTexts(units, contacts, settings.topic, now_ms)
    escalation_table = app.Table("escalations", partitions=t.ALERTS.partitions, key_type=bytes, value_type=bytes)
    states = EscalationStates(
        table=escalation_table, timers=timers, publish=send, topic_name=settings.topic, now_ms=now_ms
    )
    wait_ms = round(settings.escalation_wait_s * 1000)
    reminders = Reminders(states, texts, closed, settings.topic, now_ms, wait_ms)
    agent(app, t.ALERTS, Paging(states, texts, settings.topic, now_ms, wait_ms).handle)
    agent(app, t.ALERT_COMMANDS, Orders(states, texts, settings.topic, now_ms).handle)
    agent(app, t.ESCALATIONS, reminders.handle)
    for lane in t.SMS_LANES.values():
        agent(app, lane, dispatch.handle, at_once=settings.queued_batches)
    agent(app, t.SMS_RETRIES, retries.handle, at_once=PARTITIONS)
    agent(app, t.SMS_RECEIPTS, receipts.handle, at_once=PARTITIONS)
    app.task(timers.run)
    app.task(Expiry("escalations", escalation_table, lambda _, raw: is_over(raw, now_ms())).run)
    app.task(dispatch.run)
    expiry = Expiry("sms-ledger", ledger_table, lambda key, raw: row_is_over(key, raw, now_ms(), policy.window_ms))
    app.task(expiry.run)
    tables = (units, contacts)
    serve_metrics(
        app, settings.metrics_port, notifications_metrics(dispatch, decisions, gate, receipts, texts, timers, tables)
    )
    return app
