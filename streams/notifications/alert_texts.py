"""Who is notified of an alert now, in which words, and the records that this makes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import structlog

from domain.notification.considered import not_asked
from domain.notification.escalation import UNNOTIFIED, End, Ended, Escalation, Level, Remind, as_staffed_now, chain
from domain.notification.paging import Roster, roster
from domain.notification.reachability import number_mark
from domain.notification.request_ids import (
    all_clear_request_id,
    notify_now_request_id,
    sms_request_id,
    worse_request_id,
)
from domain.notification.sms_text import breach_text, label, resolved_text
from schemas import messages as m
from schemas.headers import event_headers
from schemas.topics import ESCALATIONS, SMS_LANES
from streams.engine.publish import Outgoing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from streams.engine.interfaces import Clock, Entries

log = structlog.get_logger(__name__)

Breach = m.AlertTriggered | m.SeverityRaised

FIRST_LEVEL = 1
_NOTES = {
    End.CHAIN_ENDED: "Nobody answered yet.",
    End.ACKNOWLEDGED: "The acknowledgement lapsed.",
}


class AlertTexts:
    """Makes the SMS requests and the steps of escalations. Their ids are such that a re-run makes the same ones.

    `made` counts what was made, by its reason.
    """

    def __init__(self, units: Entries[m.UnitConfig], contacts: Entries[m.Contact], now_ms: Clock) -> None:
        self._units = units
        self._contacts = contacts
        self._now_ms = now_ms
        self._roster: Roster = {}
        self._roster_version = -1
        self.made: Counter[str] = Counter()

    def levels(self, alert: Breach) -> tuple[Level, ...]:
        """The chain of the alert's organization as people are on duty now."""
        return chain(self._people(alert), alert.severity)

    def _people(self, alert: Breach) -> tuple[m.Contact, ...]:
        if self._roster_version != self._contacts.version:
            self._roster_version = self._contacts.version
            self._roster = roster(self._contacts.values())
        return self._roster.get(alert.organization_id, ())

    def numbers(self, user_ids: Iterable[str]) -> dict[str, str]:
        """A mark of the number that each of these people has now."""
        return {user_id: number_mark(self._contacts.get(user_id)) for user_id in user_ids}

    def step(self, alert: Breach, step: Remind) -> Iterator[Outgoing]:
        """Notifies the people of a level. Whoever is first reads of a breach, whatever the level's number."""
        self.made["breach" if step.first else "reminder"] += 1
        wording = FIRST_LEVEL if step.first else step.level.number
        note = "" if step.again is None else _NOTES[step.again]
        for user_id in step.level.user_ids:
            request = self.request(alert, user_id, step.level.number, step.round, wording, note)
            yield self.outgoing(msgspec.structs.replace(request, first=step.first))

    def request(
        self, alert: Breach, user_id: str, level: int, chain_round: int, wording: int = FIRST_LEVEL, note: str = ""
    ) -> m.SmsRequest:
        """The SMS of one level and round of the chain; `wording` above 1 makes its text a reminder's."""
        request_id = sms_request_id(alert.alert_id, user_id, level, chain_round)
        made = self._made(alert, request_id, user_id, level, wording, note=note)
        return msgspec.structs.replace(made, round=chain_round)

    def all_clear(self, alert: m.AlertResolved, user_ids: Iterable[str]) -> Iterator[Outgoing]:
        """Whoever was paged reads that it is over."""
        self.made["all_clear"] += 1
        unit = self._units.get(alert.unit_id)
        for user_id in user_ids:
            yield self.outgoing(
                m.SmsRequest(
                    request_id=all_clear_request_id(alert.alert_id, user_id),
                    alert_id=alert.alert_id,
                    unit_id=alert.unit_id,
                    organization_id=alert.organization_id,
                    user_id=user_id,
                    kind=alert.kind,
                    severity=alert.severity,
                    text=resolved_text(alert, unit),
                    all_clear=True,
                    breach_at_ms=alert.at_ms,
                    requested_at_ms=self._now_ms(),
                )
            )

    def stepped(self, alert: Breach, step: Remind) -> Outgoing:
        stepped = m.EscalationStepped(
            alert_id=alert.alert_id,
            unit_id=alert.unit_id,
            organization_id=alert.organization_id,
            level=step.level.number,
            at_ms=self._now_ms(),
            user_ids=step.level.user_ids,
            not_asked=not_asked(self._people(alert), alert.severity, step.level),
        )
        return self._event(stepped, str(step.round) if step.round else "")

    def ended(self, alert: Breach, step: Ended, escalation: Escalation) -> Outgoing:
        return self._ended(alert, step, escalation.level, f"{step.because}.{escalation.round}")

    def _ended(self, alert: Breach, step: Ended, level: Level, which: str) -> Outgoing:
        """Nobody answered, or nobody could be notified: somebody in charge must look."""
        self.made[step.because] += 1
        log.error("escalation.nobody_answered", alert=alert.alert_id, unit=alert.unit_id, because=step.because)
        ended = m.EscalationEnded(
            alert_id=alert.alert_id,
            unit_id=alert.unit_id,
            organization_id=alert.organization_id,
            level=max(FIRST_LEVEL, level.number),
            at_ms=self._now_ms(),
            because=step.because,
            not_asked=not_asked(self._people(alert), alert.severity, level),
        )
        return self._event(ended, which)

    def worse(self, alert: Breach) -> Iterator[Outgoing]:
        """The alert, known to page, rose in severity: the first level is notified of that too.

        It is news and no reminder, so it is level 1 whatever the chain begins with.
        """
        self.made["worse"] += 1
        for user_id in next(iter(self.levels(alert)), UNNOTIFIED).user_ids:
            request_id = worse_request_id(alert.alert_id, user_id, alert.severity)
            yield self.outgoing(self._made(alert, request_id, user_id, FIRST_LEVEL, FIRST_LEVEL))

    def notify_now(self, alert: Breach, escalation: Escalation, command: m.NotifyNow) -> Iterator[Outgoing]:
        """A person wants the people of the present level notified now.

        As level 1 when the alert was acknowledged: the command is newer, and no reminder that this should cancel.
        """
        self.made["notify_now"] += 1
        levels = self.levels(alert)
        first = escalation.level == UNNOTIFIED
        present = next(iter(levels), UNNOTIFIED) if first else as_staffed_now(escalation.level, levels)
        level = max(FIRST_LEVEL, present.number) if escalation.open else FIRST_LEVEL
        if not present.user_ids:
            yield self._ended(alert, Ended(End.NOBODY_ON_DUTY), present, f"ordered.{command.at_ms}")
        for user_id in present.user_ids:
            request_id = notify_now_request_id(command, user_id)
            request = self._made(alert, request_id, user_id, level, FIRST_LEVEL if first else level)
            yield self.outgoing(msgspec.structs.replace(request, forced=True))

    def _made(
        self, alert: Breach, request_id: str, user_id: str, level: int, wording: int, *, note: str = ""
    ) -> m.SmsRequest:
        unit = self._units.get(alert.unit_id)
        return m.SmsRequest(
            request_id=request_id,
            alert_id=alert.alert_id,
            unit_id=alert.unit_id,
            organization_id=alert.organization_id,
            user_id=user_id,
            kind=alert.kind,
            severity=alert.severity,
            level=level,
            text=breach_text(alert, unit, user_id, level=wording, note=note),
            label=label(alert, unit),
            breach_at_ms=alert.at_ms,
            requested_at_ms=self._now_ms(),
        )

    def outgoing(self, request: m.SmsRequest) -> Outgoing:
        return Outgoing(
            SMS_LANES[request.severity],
            request.user_id.encode(),
            m.encode(request),
            event_headers(request.request_id, "sms"),
        )

    def _event(self, event: m.EscalationStepped | m.EscalationEnded, which: str) -> Outgoing:
        """`which` tells it from others of its kind and level: the timeline has each id once."""
        kind = str(event.__struct_config__.tag)
        again = f".{which}" if which else ""
        headers = event_headers(f"{event.alert_id}.{event.level}.{kind}{again}", kind)
        return Outgoing(ESCALATIONS, event.unit_id.encode(), m.encode(event), headers)
