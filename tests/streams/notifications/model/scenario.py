"""What may happen to an organization's alerts and people; each step is judged by the model as time goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from domain.notification.replies import ack_code
from schemas import messages as m
from schemas import topics as t
from tests.streams.notifications.model.model import Alert, Broken, Model, Person
from tests.streams.notifications.model.world import ORGANIZATION, PagingWorld

if TYPE_CHECKING:
    from collections.abc import Sequence

Mood = Literal["well", "unavailable", "away", "silent", "refuses", "forgets"]
LOOK_EVERY_S, CLOSELY_S = 10, 120
UNITS = ("unit-1", "unit-2", "unit-3", "unit-4", "unit-5", "unit-6")
CRITICAL, WARNING = m.Severity.CRITICAL, m.Severity.WARNING


class Scenario:
    """`levels`: at which level of the chain ada, ben, carl … are. Close it."""

    def __init__(self, levels: Sequence[int] = (1, 2), *, receipts: bool = True) -> None:
        names = ("ada", "ben", "carl", "dora")
        self._number = 0
        contacts = [
            m.Contact(
                user_id=name,
                organization_id=ORGANIZATION,
                name=name,
                email=f"{name}@example.com",
                escalation_level=level,
                phone_e164=self._new_number(),
            )
            for name, level in zip(names, levels, strict=False)
        ]
        self.model = Model([Person(contact) for contact in contacts])
        self.world = self.model.world = PagingWorld.__new__(PagingWorld)
        self.world.__init__(self.model, contacts, receipts=receipts)  # type: ignore[misc]
        self._count = 0

    def _new_number(self) -> str:
        self._number += 1
        return f"+120255501{self._number % 100:02d}"

    def close(self) -> None:
        self.world.close()

    def later(self, seconds: float) -> None:
        """Time goes on, and the model looks every ten seconds, after two minutes every minute."""
        passed = 0.0
        while passed < seconds:
            piece = min(seconds - passed, LOOK_EVERY_S if passed < CLOSELY_S else 60)
            self.world.run(piece)
            self.model.look()
            passed += piece

    def firing(self) -> list[Alert]:
        return [alert for alert in self.model.alerts.values() if alert.firing]

    def breach(self, unit_id: str = UNITS[0], severity: m.Severity = CRITICAL) -> Alert:
        """Begins an alert, unless the unit has one: then that one."""
        known = [alert for alert in self.firing() if alert.unit_id == unit_id]
        if known:
            return known[0]
        self._count += 1
        alert_id = f"alert-{self._count}"
        self._alert(m.AlertTriggered, alert_id, unit_id, severity, temperature_c=9.0, limit_c=8.0)
        return self.model.alerts[alert_id]

    def worsen(self, alert: Alert) -> None:
        if alert.severity is not CRITICAL:
            self._alert(m.SeverityRaised, alert.alert_id, alert.unit_id, CRITICAL, former_severity=alert.severity)

    def resolve(self, alert: Alert) -> None:
        self._alert(m.AlertResolved, alert.alert_id, alert.unit_id, alert.severity)

    def _alert(self, kind: type[m.AlertEvent], alert_id: str, unit_id: str, severity: m.Severity, **more: Any) -> None:
        at_ms = self.world.now_ms()
        about: dict[str, Any] = {
            "alert_id": alert_id,
            "unit_id": unit_id,
            "organization_id": ORGANIZATION,
            "rule_id": "rule-1",
        }
        message = kind(
            kind=m.AlertKind.TEMPERATURE_HIGH, severity=severity, started_at_ms=at_ms, at_ms=at_ms, **about, **more
        )
        self.world.append(t.ALERTS.name, message, unit_id.encode())

    def command(self, kind: type[m.AlertCommand], alert: Alert, **more: Any) -> None:
        message = kind(
            alert_id=alert.alert_id,
            unit_id=alert.unit_id,
            organization_id=ORGANIZATION,
            user_id="boss",
            at_ms=self.world.now_ms(),
            **more,
        )
        self.world.append(t.ALERT_COMMANDS.name, message, alert.unit_id.encode())

    def acknowledge(self, alert: Alert) -> None:
        self.command(m.Acknowledge, alert)

    def silence(self, alert: Alert, minutes: int) -> None:
        self.command(m.Silence, alert, until_at_ms=self.world.now_ms() + minutes * 60_000)

    def notify_now(self, alert: Alert) -> None:
        self.command(m.NotifyNow, alert)

    def reply(self, alert: Alert, user_id: str) -> None:
        """Somebody who was paged answers by SMS; half a minute later it counts."""
        self._count += 1
        reply = m.InboundReply(
            event_id=f"reply-{self._count}",
            user_id=user_id,
            occurred_at_ms=self.world.now_ms(),
            text=f"ack {ack_code(alert.alert_id, user_id)}",
        )
        self.world.append(t.SMS_RECEIPTS.name, reply, user_id.encode())
        self.later(30)
        if alert.firing and not alert.acknowledged(self.world.now_ms()):
            raise Broken(f"{user_id} answered the SMS about {alert.alert_id}, and it is not acknowledged")

    def provider(self, mood: Mood) -> None:
        self.model.provider_changes(mood, self.world.provider.mood)
        self.world.provider.mood = mood

    def kill(self, after_publishes: int = 0, *, arrives: bool = True) -> None:
        self.world.kill(after_publishes, arrives=arrives)

    def change(self, user_id: str, **changes: object) -> None:
        """A contact from now on: `on_duty`, `sms_opted_out`, `escalation_level`."""
        person = self.model.people[user_id]
        person.contact = msgspec.structs.replace(person.contact, **changes)
        self._staff()

    def renumber(self, user_id: str) -> None:
        self.change(user_id, phone_e164=self._new_number())

    def dead_number(self, user_id: str, *, dead: bool = True) -> None:
        """The provider refuses SMS to this person's number."""
        person = self.model.people[user_id]
        person.dead_number = dead
        number = person.contact.phone_e164 or ""
        (self.world.provider.dead_numbers.add if dead else self.world.provider.dead_numbers.discard)(number)
        self.model.staff_changed()

    def remove(self, user_id: str) -> None:
        del self.model.people[user_id]
        self._staff()

    def _staff(self) -> None:
        self.world.staff([person.contact for person in self.model.people.values()])
        self.model.staff_changed()
