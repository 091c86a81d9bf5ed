"""The flows of an escalation around one table and one clock, with stand-ins for the broker, contacts and orders."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import msgspec

from domain.notification.escalation import Times
from schemas import messages as m
from streams.engine.timer_rows import TimerRow
from streams.engine.timers import Timers
from streams.notifications.alert_commands_to_sms import AlertCommands
from streams.notifications.alert_texts import AlertTexts
from streams.notifications.alerts_to_sms import AllClear, Paging
from streams.notifications.chain_times import ChainTimes
from streams.notifications.escalation_states import EscalationStates, State, timer_id
from streams.notifications.escalations_to_sms import Reminders
from streams.notifications.fallback import Fallback
from streams.notifications.page_emails import PageEmails
from tests.streams.fakes import NOW_MS, FakeBatch, FakeBroker, FakeReference, FakeTable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streams.engine.consumer import Batch
    from streams.engine.publish import Outgoing

WAIT_MS = 15 * 60_000
AGAIN_MS = 30 * 60_000
LAPSE_MS = 4 * 3_600_000
LOOK_AGAIN_MS = 60_000
FINAL = Times(WAIT_MS, None, None, LOOK_AGAIN_MS)
GOING_ON = Times(WAIT_MS, AGAIN_MS, LAPSE_MS, LOOK_AGAIN_MS)
ABOUT = {"alert_id": "alert-1", "unit_id": "unit-1", "organization_id": "org-1"}
UNIT = m.UnitConfig(unit_id="unit-1", organization_id="org-1", name="Vaccines", display_unit="F")


class CrashError(Exception):
    """The worker ends here."""


class GatedBroker(FakeBroker):
    """While it is not `open`, whoever publishes waits."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.open.set()

    async def publish(self, records: Sequence[Outgoing]) -> None:
        await self.open.wait()
        await super().publish(records)


class StatesTable(FakeTable):
    """Its next write may be the moment of a crash."""

    crash = False

    async def write(self, batch: object, items: Mapping[bytes, bytes | None], *, durable: bool = False) -> None:
        if self.crash:
            self.crash = False
            raise CrashError
        await super().write(batch, items, durable=durable)


class FakeClosed:
    """Orders that are at the broker, and that no flow has read."""

    def __init__(self) -> None:
        self.why: dict[str, str] = {}
        self.until_ms: int | None = None
        self.answers = True
        self.asked = 0

    def why_closed(self, alert_id: str, severity: m.Severity, now_ms: int) -> str | None:
        return self.why.get(alert_id)

    def acknowledged_at_ms(self, alert_id: str) -> int | None:
        return None

    def silenced_until_ms(self, alert_id: str) -> int | None:
        return self.until_ms

    async def up_to_date(self) -> None:
        self.asked += 1
        if not self.answers:
            raise TimeoutError


def contact(user_id: str, level: int = 1, organization_id: str = "org-1", **changes: object) -> m.Contact:
    fields = {"organization_id": organization_id, "name": user_id, "escalation_level": level} | changes
    return msgspec.convert(fields | {"user_id": user_id, "phone_e164": "+12025550101"}, m.Contact)


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


def escalated(severity: m.Severity = m.Severity.CRITICAL, former: m.Severity = m.Severity.CRITICAL) -> m.SeverityRaised:
    return m.SeverityRaised(
        alert_id="alert-1",
        unit_id="unit-1",
        organization_id="org-1",
        rule_id="rule-1",
        kind=m.AlertKind.TEMPERATURE_HIGH,
        severity=severity,
        started_at_ms=NOW_MS,
        at_ms=NOW_MS + 1,
        temperature_c=11.0,
        limit_c=8.0,
        former_severity=former,
    )


def resolved() -> m.AlertResolved:
    return m.AlertResolved(
        alert_id="alert-1",
        unit_id="unit-1",
        organization_id="org-1",
        rule_id="rule-1",
        kind=m.AlertKind.TEMPERATURE_HIGH,
        severity=m.Severity.CRITICAL,
        started_at_ms=NOW_MS,
        at_ms=NOW_MS + 2,
    )


def acknowledge() -> m.Acknowledge:
    return m.Acknowledge(user_id="ada", at_ms=NOW_MS, **ABOUT)


def silence(until_at_ms: int) -> m.Silence:
    return m.Silence(user_id="ada", at_ms=NOW_MS, until_at_ms=until_at_ms, **ABOUT)


def notify_now(at_ms: int = NOW_MS) -> m.NotifyNow:
    return m.NotifyNow(user_id="boss", at_ms=at_ms, **ABOUT)


def missed(user_id: str, level: int = 1) -> m.PageUndelivered:
    return m.PageUndelivered(user_id=user_id, level=level, because="dead", at_ms=NOW_MS, **ABOUT)


def heard(user_id: str, level: int = 1) -> m.PageDelivered:
    return m.PageDelivered(user_id=user_id, level=level, at_ms=NOW_MS, **ABOUT)


class World:
    """`ada` and `ben` are told first, then `carl`."""

    def __init__(
        self,
        *people: m.Contact,
        times: Times = FINAL,
        all_clear: AllClear = "none",
        own_wait_s: int | None = None,
        fallback_user_id: str | None = None,
    ) -> None:
        self.now_ms = NOW_MS
        self.broker = GatedBroker()
        self.table = StatesTable()
        self.timer_table = FakeTable()
        self.closed = FakeClosed()
        everybody = people or (contact("ada"), contact("ben"), contact("carl", 2), contact("zoe", 1, "org-2"))
        self.contacts = FakeReference(**{who.user_id: who for who in everybody})
        timers = Timers(self.timer_table, self.broker.publish, self._now)
        self.states = EscalationStates(table=self.table, timers=timers, publish=self.broker.publish, now_ms=self._now)
        texts = AlertTexts(FakeReference(unit_1=UNIT), self.contacts, self._now)
        organization = m.Organization(
            organization_id=ABOUT["organization_id"],
            name="Org",
            escalation_wait_s=own_wait_s,
            fallback_user_id=fallback_user_id,
        )
        organizations = FakeReference(**{ABOUT["organization_id"]: organization})
        chain_times = ChainTimes(times, organizations)
        fallback = Fallback(texts, PageEmails(self._now, 60.0), organizations, self._now)
        self._alerts = Paging(self.states, texts, fallback, self._now, chain_times, all_clear)
        self._commands = AlertCommands(self.states, texts, self._now, chain_times)
        self._escalations = Reminders(self.states, texts, fallback, self.closed, self._now, chain_times)

    def _now(self) -> int:
        return self.now_ms

    async def handle(self, *messages: object) -> None:
        """Messages of one topic, in one batch; raw bytes count as alerts."""
        if isinstance(messages[0], m.AlertCommand):
            await self._commands.handle(_batch("alert-commands", messages))
        elif isinstance(messages[0], m.EscalationEvent):
            await self._escalations.handle(_batch("escalations", messages))
        else:
            await self._alerts.handle(_batch("alerts", messages))

    async def unreadable(self, topic: str) -> None:
        flows = {"alerts": self._alerts.handle, "alert-commands": self._commands.handle}
        await flows.get(topic, self._escalations.handle)(_batch(topic, [b"{}"]))

    async def twice(self, *messages: object) -> None:
        """The worker crashes after it published and before it wrote its state; the next one reads the batch again."""
        self.table.crash = True
        try:
            await self.handle(*messages)
        except CrashError:
            await self.handle(*messages)
        else:
            raise AssertionError("nothing was written")

    async def later(self, after_ms: int = WAIT_MS) -> None:
        """Time goes on, and the timer that is due then fires."""
        self.now_ms += after_ms
        timer = self.timer()
        if timer is not None and timer.due_at_ms <= self.now_ms:
            del self.timer_table.rows[timer_id("alert-1").encode()]
            await self._escalations.handle(_batch("escalations", [timer.value]))

    def timer(self) -> TimerRow | None:
        raw = self.timer_table.rows.get(timer_id("alert-1").encode())
        return None if raw is None else msgspec.msgpack.decode(raw, type=TimerRow)

    def state(self) -> State:
        return msgspec.msgpack.decode(self.table.rows[b"alert-1"], type=State)

    def staff(self, *people: m.Contact) -> None:
        """From now on these are the contacts."""
        self.contacts._entries = {who.user_id: who for who in people}
        self.contacts.version += 1

    def requests(self, lane: str = "sms-critical") -> list[m.SmsRequest]:
        return self.broker.decoded(lane, m.SmsRequest)

    def notified(self) -> list[tuple[str, int]]:
        """Who was notified, and as which level, each request once."""
        requests = [request for severity in m.SEVERITIES for request in self.requests(f"sms-{severity}")]
        return list({r.request_id: (r.user_id, r.level) for r in requests}.values())

    def events(self) -> list[m.Escalation]:
        """The chain's steps and ends."""
        events = [msgspec.json.decode(value, type=m.Escalation) for value in self.broker.values("escalations")]
        return [event for event in events if not isinstance(event, m.FallbackAsked | m.PageReplied)]


def _batch(topic: str, messages: Sequence[object]) -> Batch:
    return cast("Batch", FakeBatch(messages, topic=topic))
