"""The SMS path simulated: all flows of the notifications worker, people who acknowledge, a provider that lies."""

from __future__ import annotations

import asyncio
import time
import zlib
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from domain.notification.escalation import Times
from domain.notification.receipts import Waits
from domain.notification.retry import BackOff, RetryPolicy
from schemas import messages as m
from schemas import topics as t
from streams.engine.consumer import each_batch
from streams.engine.timers import Timers
from streams.notifications.alert_commands_to_sms import AlertCommands
from streams.notifications.alert_texts import AlertTexts
from streams.notifications.alerts_to_sms import Paging
from streams.notifications.chain_times import ChainTimes
from streams.notifications.escalation_states import EscalationStates
from streams.notifications.escalations_to_sms import Reminders
from streams.notifications.fallback import Fallback
from streams.notifications.page_emails import PageEmails
from streams.notifications.rate_limiter import Limits
from streams.notifications.sms_policy import SmsPolicy
from streams.notifications.stages import Surroundings, build_stages
from tests.simulation.engine_parts import Stream
from tests.simulation.partition_log import Unsent
from tests.simulation.sms.closed import SimClosed
from tests.simulation.sms.invariants import WINDOW_S, SmsInvariants
from tests.simulation.sms.provider import SimProvider
from tests.streams.fakes import FakeReference

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from schemas.topic import AnyTopic
    from tests.simulation.sms.plan import SmsPlan
    from tests.simulation.worker import Worker
    from tests.simulation.world import World

WORK_S = 15.0
# A page that is not accepted by then goes by e-mail as well.
SECOND_WAY_S = 6.0
LAPSE_MS = 3_600_000
TIMES = Times(wait_ms=8_000, again_ms=20_000, lapse_ms=LAPSE_MS, look_again_ms=10_000)
ORGANIZATION = "org"


class SmsRun:
    """See `Scenario`."""

    topics: Sequence[str] = tuple(
        topic.name
        for topic in (t.ALERTS, t.ALERT_COMMANDS, t.ESCALATIONS, *t.SMS_LANES.values(), t.SMS_RETRIES, t.SMS_RECEIPTS)
    )
    seekable: Sequence[str] = ()
    outputs: Sequence[str] = tuple(
        topic.name for topic in (t.SMS_OUTCOMES, t.SMS_DLQ, t.PAGE_EMAILS, t.OPERATOR_NOTICES)
    )
    tables: Sequence[str] = ("sms-ledger", "sms-timers", "escalations")
    send_limit_s = 30.0
    faults: Mapping[str, Callable[[int, float], None]] = {}

    def __init__(self, world: World, plan: SmsPlan) -> None:
        self._world = world
        self._plan = plan
        self._rng = Random(f"{plan.seed}/people")
        rng = Random(f"{plan.seed}/provider")
        self._provider = SimProvider(
            world.broker, rng, plan.lies, plan.lie_one_in, world.covered, webhooks=plan.receipts
        )
        people = [_contact(number) for number in range(plan.people)]
        self._contacts = FakeReference(**{who.user_id: who for who in people})
        self._units: FakeReference[m.UnitConfig] = FakeReference()
        self._organizations: FakeReference[m.Organization] = FakeReference()
        self._invariants = SmsInvariants(world, plan, self._provider, people)
        self._alerts: list[m.AlertTriggered] = []

    def parts(self, worker: Worker) -> Sequence[Coroutine[Any, Any, None]]:
        """As `streams/notifications/app.py` puts them together."""
        app, publish, plan = worker.app, worker.publish, self._plan
        ledger, timer_table, escalations = (worker.tables[name] for name in self.tables)
        closed = SimClosed(self._world.broker, now_ms, LAPSE_MS)
        timers, emails = Timers(timer_table, publish, now_ms), PageEmails(now_ms, SECOND_WAY_S)
        stages = build_stages(
            Surroundings(
                provider=self._provider,
                table=ledger,
                timers=timers,
                contacts=self._contacts,
                organizations=self._organizations,
                emails=emails,
                closed=closed,
                publish=publish,
                policy=_policy(plan),
                now_ms=now_ms,
                rng=Random(f"{plan.seed}/{worker.process.name}"),
            ),
            limits=Limits(plan.partitions, per_second=12, cap=6, per_worker=3),
            owned=lambda: [slot.partition for slot in ledger.owned()],
            polls_at_once=2,
        )
        texts = AlertTexts(self._units, self._contacts, now_ms)
        fallback = Fallback(texts, emails, self._organizations, now_ms)
        states = EscalationStates(table=escalations, timers=timers, publish=publish, now_ms=now_ms)
        times = ChainTimes(TIMES, self._organizations)

        def flow(topic: AnyTopic, handle: Any, at_once: int = 1) -> Coroutine[Any, Any, None]:
            return each_batch(app, Stream(app, topic.name), handle, at_once=at_once)

        return [
            flow(t.ALERTS, Paging(states, texts, fallback, now_ms, times, "critical").handle),
            flow(t.ALERT_COMMANDS, AlertCommands(states, texts, now_ms, times).handle),
            flow(t.ESCALATIONS, Reminders(states, texts, fallback, closed, now_ms, times).handle),
            *(flow(lane, partial(stages.sms.handle, lane), 2) for lane in t.SMS_LANES.values()),
            flow(t.SMS_RETRIES, stages.retries.handle, plan.partitions),
            flow(t.SMS_RECEIPTS, stages.receipts.handle, plan.partitions),
            timers.run(),
            stages.sms.run(),
            stages.second_way.run(),
            closed.follow(),
        ]

    async def produce(self) -> None:
        """Alerts, and what people do about some of them. Each is over in the end."""
        rng = self._rng
        for number in range(self._plan.alerts):
            self._alerts.append(alert := _alert(number, rng, self._world.broker.now_ms()))
            self._append(t.ALERTS, alert.unit_id, alert)
            if rng.random() < 0.4:
                asyncio.ensure_future(self._acknowledge(alert, rng.uniform(0.0, WORK_S)))  # noqa: RUF006
            await asyncio.sleep(rng.random() * 2 * WORK_S / self._plan.alerts)

    async def _acknowledge(self, alert: m.AlertTriggered, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self._append(t.ALERT_COMMANDS, alert.unit_id, _acknowledgement(alert, self._world.broker.now_ms()))

    def look(self) -> None:
        """Nobody does anything."""

    def heal(self) -> None:
        self._provider.heal()
        now_ms = self._world.broker.now_ms()
        for alert in self._alerts:
            self._append(t.ALERTS, alert.unit_id, _resolved(alert, now_ms))

    def _append(self, topic: AnyTopic, key: str, message: Any) -> None:
        logs = self._world.broker.topics[topic.name]
        log = logs[zlib.crc32(key.encode()) % len(logs)]
        log.append([Unsent(key.encode(), m.encode(message))], self._world.broker.now_ms())

    def what_is_missing(self) -> str:
        return self._invariants.what_is_missing()

    def check(self) -> None:
        self._invariants.check()


def now_ms() -> int:
    return int(time.time() * 1000)


def _policy(plan: SmsPlan) -> SmsPolicy:
    return SmsPolicy(
        window_ms=round(WINDOW_S * 1000),
        strict=plan.strict,
        gather_ms=2_000,
        most_critical=2,
        late_ms=20_000,
        receipts=plan.receipts,
        waits=Waits(receipt_ms=4_000, final_ms=10_000),
        retry=RetryPolicy(attempts=3, back_off=BackOff.EXPONENTIAL, base_s=0.5),
        deadlines_ms={m.Severity.CRITICAL: 60_000, m.Severity.WARNING: 45_000, m.Severity.INFO: 30_000},
    )


def _contact(number: int) -> m.Contact:
    """At levels 1, 1, 2, 3; all get everything."""
    return m.Contact(
        user_id=f"user-{number}",
        organization_id=ORGANIZATION,
        name=f"User {number}",
        phone_e164=f"+1202555010{number}",
        minimum_severity=m.Severity.INFO,
        escalation_level=max(1, number),
    )


def _alert(number: int, rng: Random, at_ms: int) -> m.AlertTriggered:
    return m.AlertTriggered(
        alert_id=f"alert-{number}",
        unit_id=f"unit-{number % 4}",
        organization_id=ORGANIZATION,
        rule_id=f"rule-{number}",
        kind=m.AlertKind.TEMPERATURE_HIGH,
        severity=rng.choice((m.Severity.CRITICAL, m.Severity.CRITICAL, m.Severity.WARNING, m.Severity.INFO)),
        started_at_ms=at_ms,
        at_ms=at_ms,
        temperature_c=10.0,
        limit_c=8.0,
    )


def _resolved(alert: m.AlertTriggered, at_ms: int) -> m.AlertResolved:
    return m.AlertResolved(
        alert_id=alert.alert_id,
        unit_id=alert.unit_id,
        organization_id=ORGANIZATION,
        rule_id=alert.rule_id,
        kind=alert.kind,
        severity=alert.severity,
        started_at_ms=alert.started_at_ms,
        at_ms=at_ms,
    )


def _acknowledgement(alert: m.AlertTriggered, at_ms: int) -> m.Acknowledge:
    return m.Acknowledge(
        alert_id=alert.alert_id, unit_id=alert.unit_id, organization_id=ORGANIZATION, user_id="user-0", at_ms=at_ms
    )
