"""`alert-commands` → escalations end, wait for the end of a silence, or people are told once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from domain.notification.escalation import End, ended, silenced
from schemas import messages as m
from schemas.topics import SMS_DLQ
from streams.engine.unreadable import dead_letter

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.engine.consumer import Batch
    from streams.notifications.alert_texts import AlertTexts
    from streams.notifications.escalation_states import Changes, EscalationStates, State

log = structlog.get_logger(__name__)

_decode: msgspec.json.Decoder[m.Command] = msgspec.json.Decoder(m.Command)


class Orders:
    """Carries out what people order about alerts. An order may come before its alert, and holds then too."""

    def __init__(
        self,
        states: EscalationStates,
        texts: AlertTexts,
        topic_name: Callable[[str], str],
        now_ms: Callable[[], int],
    ) -> None:
        self._states = states
        self._texts = texts
        self._dead = topic_name(SMS_DLQ.name)
        self._now_ms = now_ms

    async def handle(self, batch: Batch) -> None:
        async with self._states.changing(batch) as changes:
            for record in batch.records:
                try:
                    command = _decode.decode(record.value or b"")
                except msgspec.MsgspecError as error:
                    changes.outgoing.append(dead_letter(record, self._dead, str(error), self._now_ms()))
                    continue
                self._take(changes, command)

    def _take(self, changes: Changes, command: m.Command) -> None:
        state = changes.state(command.alert_id)
        about = {"alert": command.alert_id, "user": command.user_id}
        match command:
            case m.Acknowledge(via=via):
                log.info("alert.acknowledged", via=via, **about)
                escalation = ended(state.escalation, End.ACKNOWLEDGED)
                changes.put(msgspec.structs.replace(state, escalation=escalation))
            case m.Silence(until_at_ms=until_ms):
                log.info("alert.silenced", until_ms=until_ms, **about)
                changes.put(msgspec.structs.replace(state, escalation=silenced(state.escalation, until_ms)))
            case m.NotifyNow():
                log.info("alert.notify_now", ended=state.escalation.ended, **about)
                self._notify(changes, state, command)

    def _notify(self, changes: Changes, state: State, command: m.NotifyNow) -> None:
        # The newer order counts: it ends a silence.
        escalation = silenced(state.escalation, 0)
        ordered = state.ordered
        if state.alert is not None:
            changes.send(self._texts.ordered(state.alert, escalation, command), state.trace)
        elif escalation.ended is not End.RESOLVED:
            ordered = command
        changes.put(msgspec.structs.replace(state, escalation=escalation, ordered=ordered))
