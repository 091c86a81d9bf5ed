"""What paging promises, in plain words: who must have been paged by when, and who must not be.

It knows people, alerts, and what others can see: commands that are at the broker, and SMS that reach the provider. Of
the flows it knows nothing; an SMS is about the alerts whose codes stand in its text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from domain.notification.answers import Accepted
from domain.notification.replies import ack_code
from schemas import messages as m
from schemas.topics import ALERT_COMMANDS, PAGE_EMAILS

if TYPE_CHECKING:
    from domain.notification.answers import Answer
    from streams.notifications.provider import Sms
    from tests.streams.notifications.model.world import PagingWorld

MINUTE = 60_000
FIRST = 2 * MINUTE
"""The promise: a look a minute for who came on duty, 20 s of gathering, a breaker that probes every 15 s."""
PROMPT = 15_000
"""The same where nothing is in the way, least of all a message of lower severity."""
WAIT, AGAIN, LAPSE, WINDOW = 15 * MINUTE, 30 * MINUTE, 240 * MINUTE, 15 * MINUTE
LATE, MAILED = 5 * MINUTE, 60_000 + FIRST
AT_ONCE = 2_000
"""So long the first page is on its way, and is not called back."""
RECOVERY = {"silent": 5 * MINUTE, "forgets": 5 * MINUTE}
"""Longer than others: each try without an answer may be a copy, so the next one waits up to five minutes."""
MOST = {m.Severity.CRITICAL: 4, m.Severity.WARNING: 1, m.Severity.INFO: 1}


class Broken(AssertionError):  # noqa: N818 - the name of what happened
    """A promise was broken."""


@dataclass
class Person:
    contact: m.Contact
    dead_number: bool = False
    first_pages: list[tuple[int, m.Severity]] = field(default_factory=list)

    @property
    def reachable(self) -> bool:
        return self.contact.on_duty and not self.contact.sms_opted_out and not self.dead_number

    def is_free(self, severity: m.Severity, now_ms: int) -> bool:
        """Whether a first page may go out on its own."""
        recent = [at for at, of in self.first_pages if of is severity and at > now_ms - WINDOW - MINUTE]
        return len(recent) < MOST[severity]


@dataclass(repr=False)
class Alert:
    alert_id: str
    unit_id: str
    severity: m.Severity
    begun_at: int
    firing: bool = True
    ended_at: int = 0
    acknowledged_at: int | None = None
    silenced_until: int = 0
    news_at: int = -1
    """When somebody ordered that people be paged, or it became worse: an older acknowledgement was not about that."""
    pages: int = 0
    midway: bool = False
    """The chain did not begin at its begin: the people changed, or cannot be reached there."""
    waiting_since: int | None = None
    told: dict[str, str] = field(default_factory=dict)
    """Who was sent an SMS about it, and to which number."""
    read_as_over: set[str] = field(default_factory=set)
    mailed: bool = False
    heard_end: set[str] = field(default_factory=set)
    refused: bool = False
    disturbed: bool = False
    """Something but the window may have kept it from being told: people, orders, the provider, a crash."""

    def __repr__(self) -> str:
        return self.alert_id

    def acknowledged(self, now_ms: int) -> bool:
        return self.acknowledged_at is not None and now_ms < self.acknowledged_at + LAPSE


class Model:
    """Told of all that happens; `look` and `left` raise `Broken`."""

    def __init__(self, people: list[Person]) -> None:
        self.people = {person.contact.user_id: person for person in people}
        self.alerts: dict[str, Alert] = {}
        self.well_since = self.staff_since = 0
        self.recovery = FIRST
        self.world: PagingWorld

    def published(self, topic: str, message: object) -> None:
        now = self.world.now_ms()
        match message:
            case bytes() if topic == PAGE_EMAILS.name:
                self.published(topic, PAGE_EMAILS.decode(message))
            case m.PageEmail(alert_id=str(alert_id)):
                self.alerts[alert_id].mailed = True
            case bytes() if topic == ALERT_COMMANDS.name:
                self.published(topic, ALERT_COMMANDS.decode(message))
            case m.AlertTriggered():
                self.alerts[message.alert_id] = Alert(message.alert_id, message.unit_id, message.severity, now)
            case m.SeverityRaised():
                alert = self.alerts[message.alert_id]
                # Who took on a warning did not take on this.
                alert.severity, alert.pages, alert.waiting_since, alert.news_at = message.severity, 0, None, now
            case m.AlertResolved():
                self.alerts[message.alert_id].firing = False
                self.alerts[message.alert_id].ended_at = now
            case m.Acknowledge():
                if not self.alerts[message.alert_id].acknowledged(now):
                    self.alerts[message.alert_id].acknowledged_at = now
                    self.alerts[message.alert_id].pages = 0
            case m.Silence():
                self.alerts[message.alert_id].silenced_until = message.until_at_ms
            case m.NotifyNow():
                self.alerts[message.alert_id].news_at, self.alerts[message.alert_id].silenced_until = now, 0

    def staff_changed(self) -> None:
        self.staff_since = self.world.now_ms()
        for alert in self.alerts.values():
            alert.waiting_since, alert.disturbed = None, True
            alert.told = {who: number for who, number in alert.told.items() if self._has(who, number)}
            alert.midway = True
            if not alert.told:
                alert.pages = 0

    def _has(self, user_id: str, number: str) -> bool:
        contact = self.people[user_id].contact if user_id in self.people else None
        return contact is not None and contact.phone_e164 == number and not contact.sms_opted_out

    def provider_changes(self, mood: str, former: str) -> None:
        self.well_since = self.world.now_ms()
        self.recovery = FIRST + max(RECOVERY.get(mood, 0), RECOVERY.get(former, 0))
        for alert in self.alerts.values():
            # What was refused three times is dead: a critical alert begins its chain again, any other does not.
            alert.refused |= former == "refuses"

    def left(self, sms: Sms, answer: Answer) -> None:
        """An SMS reaches the provider."""
        now, text = self.world.now_ms(), sms.text
        person = next((p for p in self.people.values() if p.contact.phone_e164 == sms.to_e164), None)
        if person is None or person.contact.sms_opted_out:
            raise Broken(f"{sms.to_e164} is nobody's number, or opted out: {text}")
        user_id = person.contact.user_id
        if text.startswith("RESOLVED"):
            return self._all_clear(user_id, sms, answer)
        named = [a for a in self.alerts.values() if ack_code(a.alert_id, user_id) in text]
        over = [a for a in self.alerts.values() if not a.firing and "(over)" in text and a.unit_id in text]
        repeated = "REMINDER" in text or "Nobody answered" in text or "lapsed" in text
        for alert in named:
            if (
                alert.acknowledged(now)
                and alert.news_at < (alert.acknowledged_at or 0)
                and now > alert.begun_at + AT_ONCE
            ):
                raise Broken(f"{user_id} is paged although {alert.alert_id} was acknowledged: {text}")
            if not alert.firing and (repeated or now > alert.ended_at + LATE):
                raise Broken(f"{user_id} is paged although {alert.alert_id} is over: {text}")
        if isinstance(answer, Accepted):
            late = over and not named and now > over[0].ended_at + LATE
            if late and all(at < now - WINDOW - MINUTE for at, _ in person.first_pages):
                raise Broken(f"{user_id} reads only now of what is over, though no window held it back: {text}")
            self._told(person, sms.to_e164, named, now, counts=not repeated)
            for alert in over:
                alert.disturbed = True
                alert.read_as_over.add(user_id)
        return None

    def _told(self, person: Person, number: str, named: list[Alert], now: int, *, counts: bool) -> None:
        user_id, lowest = person.contact.user_id, self._lowest_level()
        # After a crash without receipts the same SMS may leave once more.
        copy = all(user_id in alert.told for alert in named)
        for alert in named:
            alert.told[user_id] = number
            alert.pages, alert.waiting_since = alert.pages + 1, now
            # What came late was held back, and the chain went on meanwhile.
            alert.midway |= now > alert.begun_at + MINUTE
            alert.midway |= person.contact.escalation_level > lowest or self._some_cannot_be_reached()
        if copy or not counts or any(alert.news_at >= 0 for alert in named):
            return
        severity = min((alert.severity for alert in named), key=lambda s: s.rank, default=m.Severity.INFO)
        person.first_pages.append((now, severity))
        recent = [at for at, of in person.first_pages if of is severity and at > now - WINDOW]
        if len(recent) > MOST[severity]:
            raise Broken(f"{len(recent)} SMS of {severity} to {person.contact.user_id} in 15 minutes")

    def _some_cannot_be_reached(self) -> bool:
        return any(one.contact.on_duty and not one.reachable for one in self.people.values())

    def _lowest_level(self) -> int:
        return min((one.contact.escalation_level for one in self.people.values() if one.contact.on_duty), default=1)

    def _all_clear(self, user_id: str, sms: Sms, answer: Answer) -> None:
        over = [a for a in self.alerts.values() if not a.firing and user_id in a.told.keys() | a.read_as_over]
        over = [a for a in over if a.unit_id in sms.text]
        if not over:
            raise Broken(f"{user_id} reads of the end of what nobody told them: {sms.text}")
        if isinstance(answer, Accepted):
            for alert in over:
                alert.heard_end.add(user_id)

    def look(self) -> None:
        """Nobody waits longer than is promised."""
        now = self.world.now_ms()
        well = self.world.provider.mood == "well" and now > self.world.up_since_ms
        steady_since = max(self.well_since, self.world.up_since_ms)
        reachable = [person for person in self.people.values() if person.reachable]
        for alert in self.alerts.values():
            alert.disturbed |= alert.acknowledged(now) or not well or steady_since > alert.begun_at - self.recovery
            if not alert.firing:
                self._look_for_all_clear(alert, now, steady_since, well=well)
                if not (alert.told or alert.disturbed) and reachable and now > alert.begun_at + WINDOW + self.recovery:
                    raise Broken(f"nobody was told of {alert.alert_id}, which is over")
                continue
            # Who could not be reached is not asked again before the chain begins again.
            alert.refused |= self._some_cannot_be_reached()
            owed = alert.severity is m.Severity.CRITICAL or not (alert.pages or alert.refused)
            self._look_for_mail(alert, now, reachable)
            if not (owed and well and reachable) or alert.acknowledged(now) or alert.silenced_until > now:
                alert.waiting_since = None
                continue
            alert.waiting_since = max(alert.waiting_since or now, steady_since)
            promise = self._promise(alert, reachable, now)
            if now > alert.waiting_since + promise:
                who = ", ".join(person.contact.user_id for person in reachable)
                raise Broken(f"nobody of {who} was paged about {alert.alert_id} for {promise // 1000} s")

    def _look_for_mail(self, alert: Alert, now: int, reachable: list[Person]) -> None:
        """Whatever the provider does, a critical page that nobody got by SMS goes by e-mail."""
        wanted = alert.severity is m.Severity.CRITICAL and reachable and alert.silenced_until <= now
        told = alert.mailed or alert.told or alert.acknowledged(now)
        since = max(alert.news_at, alert.begun_at, self.staff_since, self.world.up_since_ms, alert.silenced_until)
        if wanted and not told and now > since + MAILED:
            raise Broken(f"{alert.alert_id} reached nobody by SMS, and went to nobody by e-mail")

    def _promise(self, alert: Alert, reachable: list[Person], now: int) -> int:
        if alert.pages > 1 or (alert.pages and alert.midway) or alert.refused:
            return WAIT + AGAIN + self.recovery
        if alert.pages:
            return WAIT + self.recovery
        if alert.severity is m.Severity.CRITICAL and not alert.disturbed and self._all_are_free(now):
            return PROMPT + alert.begun_at - (alert.waiting_since or now)
        # Only what is critical goes to the next person at once; a warning waits for the end of the window.
        free = alert.severity is m.Severity.CRITICAL and any(one.is_free(alert.severity, now) for one in reachable)
        return self.recovery + (0 if free else WINDOW)

    def _all_are_free(self, now: int) -> bool:
        """Nobody had a critical page of late, and nothing but such a page may make another one wait."""
        pages = [at for one in self.people.values() for at, of in one.first_pages if of is m.Severity.CRITICAL]
        dead = any(person.dead_number for person in self.people.values())
        return not dead and all(at < now - WINDOW - MINUTE for at in pages)

    def _look_for_all_clear(self, alert: Alert, now: int, steady_since: int, *, well: bool) -> None:
        if alert.severity is not m.Severity.CRITICAL or not well:
            return
        for user_id in alert.told.keys() - alert.heard_end:
            due = max(alert.ended_at, steady_since) + self.recovery
            if self.people[user_id].reachable and now > due:
                raise Broken(f"{user_id} was paged about {alert.alert_id} and not told of its end")
