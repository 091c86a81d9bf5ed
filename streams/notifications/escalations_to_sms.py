"""`escalations` → the next level is told when nobody answers, up to the end of the chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from domain.notification.escalation import (
    End,
    Ended,
    Escalation,
    Remind,
    delivered,
    ended,
    not_delivered,
    silenced,
    stepped,
)
from schemas import messages as m
from schemas.topics import SMS_DLQ
from streams.engine.unreadable import dead_letter

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.engine.consumer import Batch
    from streams.notifications.alert_texts import AlertTexts
    from streams.notifications.escalation_states import Changes, EscalationStates

log = structlog.get_logger(__name__)

_decode: msgspec.json.Decoder[m.Escalation] = msgspec.json.Decoder(m.Escalation)


class ClosedAlerts(Protocol):
    """See `streams/notifications/closed_alerts.py`."""

    def why_closed(self, alert_id: str, now_ms: int) -> str | None: ...
    def silenced_until_ms(self, alert_id: str) -> int | None: ...
    async def up_to_date(self) -> None: ...


class Reminders:
    """Takes the steps of escalations. What is recorded here for others (steps, ends) it reads past."""

    def __init__(
        self,
        states: EscalationStates,
        texts: AlertTexts,
        closed: ClosedAlerts,
        topic_name: Callable[[str], str],
        now_ms: Callable[[], int],
        wait_ms: int,
    ) -> None:
        self._states = states
        self._texts = texts
        self._closed = closed
        self._dead = topic_name(SMS_DLQ.name)
        self._now_ms = now_ms
        self._wait_ms = wait_ms

    async def handle(self, batch: Batch) -> None:
        unreadable = []
        events: list[m.EscalationDue | m.SmsHeard | m.SmsMissed] = []
        for record in batch.records:
            try:
                event = _decode.decode(record.value or b"")
            except msgspec.MsgspecError as error:
                unreadable.append(dead_letter(record, self._dead, str(error), self._now_ms()))
                continue
            if not isinstance(event, m.EscalationStepped | m.EscalationEnded):
                events.append(event)
        if any(not isinstance(event, m.SmsHeard) for event in events):
            await self._look_for_acknowledgements()
        async with self._states.changing(batch) as changes:
            changes.outgoing += unreadable
            for event in events:
                self._take(changes, event)

    async def _look_for_acknowledgements(self) -> None:
        try:
            await self._closed.up_to_date()
        except TimeoutError as error:
            # The step is taken by what is known; before its SMS leave, the dispatch asks again.
            log.warning("escalation.acknowledgements_unknown", error=repr(error))

    def _take(self, changes: Changes, event: m.EscalationDue | m.SmsHeard | m.SmsMissed) -> None:
        state = changes.known(event.alert_id)
        if state is None:
            log.warning("escalation.unknown", alert=event.alert_id, what=event.__struct_config__.tag)
            return
        now_ms = self._now_ms()
        escalation = state.escalation
        match event:
            case m.SmsHeard():
                escalation = delivered(escalation, event.user_id, event.level)
            case m.SmsMissed():
                escalation = not_delivered(escalation, event.user_id, event.level, now_ms)
        if not isinstance(event, m.SmsHeard) and state.alert is not None:
            escalation = self._as_ordered(escalation, now_ms)
            escalation, step = stepped(escalation, self._texts.levels(state.alert), now_ms, self._wait_ms)
            match step:
                case Remind():
                    log.info("escalation.stepped", alert=event.alert_id, level=step.level.number)
                    changes.send(
                        [*self._texts.step(state.alert, step), self._texts.stepped(state.alert, step)], state.trace
                    )
                case Ended():
                    changes.send([self._texts.ended(state.alert, step, escalation.level)], state.trace)
        changes.put(msgspec.structs.replace(state, escalation=escalation))

    def _as_ordered(self, escalation: Escalation, now_ms: int) -> Escalation:
        """With the orders that are at the broker, but perhaps not yet through their own flow."""
        match self._closed.why_closed(escalation.alert_id, now_ms):
            case "acknowledged":
                return ended(escalation, End.ACKNOWLEDGED)
            case "resolved":
                return ended(escalation, End.RESOLVED)
            case "silenced":
                return silenced(escalation, self._closed.silenced_until_ms(escalation.alert_id) or now_ms)
            case _:
                return escalation
