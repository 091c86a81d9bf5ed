"""`alert-commands` → escalations end, wait for the end of a silence, or people are notified once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import msgspec
import structlog

from domain.notification.escalation import End, ended, silenced
from schemas import messages as m
from schemas.topics import ALERT_COMMANDS, SMS_DLQ
from streams.engine.decoding import decoded

if TYPE_CHECKING:
    from streams.engine.consumer import Batch
    from streams.engine.interfaces import Clock
    from streams.notifications.alert_texts import AlertTexts
    from streams.notifications.chain_times import ChainTimes
    from streams.notifications.escalation_states import Changes, EscalationStates, State

log = structlog.get_logger(__name__)


class AlertCommands:
    """Carries out what people command about alerts. A command may come before its alert, and holds then too."""

    def __init__(self, states: EscalationStates, texts: AlertTexts, now_ms: Clock, times: ChainTimes) -> None:
        self._states = states
        self._texts = texts
        self._now_ms = now_ms
        self._times = times

    async def handle(self, batch: Batch) -> None:
        messages, dead = decoded(batch, ALERT_COMMANDS, SMS_DLQ, self._now_ms())
        async with self._states.changing(batch) as changes:
            changes.outgoing += dead
            for _, command in messages:
                self._take(changes, command)

    def _take(self, changes: Changes, command: m.Command) -> None:
        state = changes.state(command.alert_id)
        about = {"alert": command.alert_id, "user": command.user_id}
        match command:
            case m.Acknowledge(via=via):
                log.info("alert.acknowledged", via=via, **about)
                # How grave the alert is may not be known yet: then as if it were critical.
                severity = m.Severity.CRITICAL if state.alert is None else state.alert.severity
                lapse_ms = self._times.lapse_ms(severity)
                lapses_at_ms = None if lapse_ms is None else self._now_ms() + lapse_ms
                escalation = ended(state.escalation, End.ACKNOWLEDGED, lapses_at_ms)
                changes.put(msgspec.structs.replace(state, escalation=escalation))
            case m.Silence(until_at_ms=until_ms):
                log.info("alert.silenced", until_ms=until_ms, **about)
                changes.put(msgspec.structs.replace(state, escalation=silenced(state.escalation, until_ms)))
            case m.NotifyNow():
                log.info("alert.notify_now", ended=state.escalation.ended, **about)
                self._notify(changes, state, command)
            case _:
                assert_never(command)

    def _notify(self, changes: Changes, state: State, command: m.NotifyNow) -> None:
        # The newer command counts: it ends a silence.
        escalation = silenced(state.escalation, 0)
        notify_now = state.notify_now
        if state.alert is not None:
            changes.send(self._texts.notify_now(state.alert, escalation, command), state.trace)
        elif escalation.ended is not End.RESOLVED:
            notify_now = command
        changes.put(msgspec.structs.replace(state, escalation=escalation, notify_now=notify_now))
