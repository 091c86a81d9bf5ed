"""`escalations` → the next level is notified when nobody answers, up to the end of the chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
from domain.notification.reachability import hastened
from schemas import messages as m
from schemas.topics import ESCALATIONS, SMS_DLQ
from streams.engine.decoding import decoded

if TYPE_CHECKING:
    from streams.engine.consumer import Batch
    from streams.engine.interfaces import Clock
    from streams.notifications.alert_texts import AlertTexts
    from streams.notifications.chain_times import ChainTimes
    from streams.notifications.closed_alerts import Closed
    from streams.notifications.escalation_states import Changes, EscalationStates
    from streams.notifications.fallback import Fallback

log = structlog.get_logger(__name__)

RECORDED = m.EscalationStepped | m.EscalationEnded | m.FallbackAsked | m.PageReplied


class Reminders:
    """Takes the steps of escalations. What is recorded here for others (steps, ends) it skips."""

    def __init__(
        self,
        states: EscalationStates,
        texts: AlertTexts,
        fallback: Fallback,
        closed: Closed,
        now_ms: Clock,
        times: ChainTimes,
    ) -> None:
        self._states = states
        self._texts = texts
        self._fallback = fallback
        self._closed = closed
        self._now_ms = now_ms
        self._times = times

    async def handle(self, batch: Batch) -> None:
        messages, dead = decoded(batch, ESCALATIONS, SMS_DLQ, self._now_ms())
        events = [event for _, event in messages if not isinstance(event, RECORDED)]
        if any(not isinstance(event, m.PageDelivered) for event in events):
            await self._look_for_acknowledgements()
        async with self._states.changing(batch) as changes:
            changes.outgoing += dead
            for event in events:
                self._take(changes, event)

    async def _look_for_acknowledgements(self) -> None:
        try:
            await self._closed.up_to_date()
        except TimeoutError as error:
            # The step is taken by what is known; before its SMS leave, somebody asks again.
            log.warning("escalation.acknowledgements_unknown", error=repr(error))

    def _take(self, changes: Changes, event: m.EscalationDue | m.PageDelivered | m.PageUndelivered) -> None:
        state = changes.known(event.alert_id)
        if state is None:
            log.warning("escalation.unknown", alert=event.alert_id, what=event.__struct_config__.tag)
            return
        now_ms = self._now_ms()
        escalation = state.escalation
        paged: tuple[str, ...] = ()
        match event:
            case m.PageDelivered():
                escalation = delivered(escalation, event.user_id, event.level)
            case m.PageUndelivered():
                escalation = not_delivered(escalation, event.user_id, event.level, now_ms)
        if not isinstance(event, m.PageDelivered) and state.alert is not None:
            levels = self._texts.levels(state.alert)
            escalation = hastened(escalation, levels, state.paged, now_ms) or escalation
            escalation = self._as_commanded(escalation, now_ms, state.alert.severity)
            escalation, step = stepped(
                escalation,
                levels,
                now_ms,
                self._times.of(state.alert.organization_id, state.alert.severity),
            )
            match step:
                case Remind():
                    log.info("escalation.stepped", alert=event.alert_id, level=step.level.number)
                    paged = step.level.user_ids
                    changes.send(
                        [*self._texts.step(state.alert, step), self._texts.stepped(state.alert, step)], state.trace
                    )
                case Ended():
                    records, paged = self._fallback.asked(state.alert, step, escalation)
                    # Also for whoever came on duty at a level that was notified already.
                    escalation = hastened(escalation, levels, (*state.paged, *paged), now_ms) or escalation
                    changes.send([self._texts.ended(state.alert, step, escalation), *records], state.trace)
        moved = msgspec.structs.replace(state, escalation=escalation)
        changes.put(moved.paging(paged, self._texts.numbers(paged)))

    def _as_commanded(self, escalation: Escalation, now_ms: int, severity: m.Severity) -> Escalation:
        """With the commands that are at the broker, but perhaps not yet through their own flow."""
        lapse_ms = self._times.lapse_ms(severity)
        lapses_at_ms = None if lapse_ms is None else now_ms + lapse_ms
        match self._closed.why_closed(escalation.alert_id, severity, now_ms):
            case "acknowledged":
                return ended(escalation, End.ACKNOWLEDGED, lapses_at_ms)
            case "resolved":
                return ended(escalation, End.RESOLVED)
            case "silenced":
                return silenced(escalation, self._closed.silenced_until_ms(escalation.alert_id) or now_ms)
            case _:
                return escalation
