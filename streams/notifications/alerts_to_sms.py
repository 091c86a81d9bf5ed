"""`alerts` → SMS to the first people of the chain, and the escalation that begins with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from domain.notification.escalation import End, Ended, Remind, begun, ended
from domain.notification.paging import pages
from schemas import messages as m
from schemas.headers import trace_of
from schemas.topics import SMS_DLQ
from streams.engine.unreadable import dead_letter

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.engine.consumer import Batch
    from streams.notifications.alert_texts import AlertTexts, Breach
    from streams.notifications.escalation_states import Changes, EscalationStates

_decode: msgspec.json.Decoder[m.Alert] = msgspec.json.Decoder(m.Alert)


class Paging:
    """Begins the escalation of an alert that pages, and ends it with the alert."""

    def __init__(
        self,
        states: EscalationStates,
        texts: AlertTexts,
        topic_name: Callable[[str], str],
        now_ms: Callable[[], int],
        wait_ms: int,
    ) -> None:
        self._states = states
        self._texts = texts
        self._dead = topic_name(SMS_DLQ.name)
        self._now_ms = now_ms
        self._wait_ms = wait_ms

    async def handle(self, batch: Batch) -> None:
        async with self._states.changing(batch) as changes:
            for record in batch.records:
                try:
                    alert = _decode.decode(record.value or b"")
                except msgspec.MsgspecError as error:
                    changes.outgoing.append(dead_letter(record, self._dead, str(error), self._now_ms()))
                    continue
                if isinstance(alert, m.AlertResolved):
                    _resolve(changes, alert)
                else:
                    self._page(changes, alert, trace_of(dict(record.headers)))

    def _page(self, changes: Changes, alert: Breach, trace: bytes) -> None:
        state = changes.state(alert.alert_id)
        escalation, former, told = state.escalation, state.alert, False
        if escalation.ended is End.RESOLVED:
            # Read again, after its end.
            changes.put(state)
            return
        if pages(alert):
            escalation, step = begun(escalation, self._texts.levels(alert), self._now_ms(), self._wait_ms)
            match step:
                case Remind():
                    changes.send(self._texts.step(alert, step), trace)
                    told = True
                case Ended():
                    changes.send([self._texts.ended(alert, step, escalation.level)], trace)
                case _ if former is not None and alert.severity.rank < former.severity.rank:
                    if escalation.silenced_until_ms <= self._now_ms():
                        changes.send(self._texts.worse(alert), trace)
        if state.ordered is not None and not told:
            changes.send(self._texts.ordered(alert, escalation, state.ordered), trace)
        newest = alert if former is None or alert.at_ms >= former.at_ms else former
        changes.put(msgspec.structs.replace(state, escalation=escalation, alert=newest, ordered=None, trace=trace))


def _resolve(changes: Changes, alert: m.AlertResolved) -> None:
    """What remains says that it ended, so that nothing which is read late or again begins anew."""
    state = changes.state(alert.alert_id)
    over = ended(state.escalation, End.RESOLVED)
    changes.put(msgspec.structs.replace(state, escalation=over, alert=None, ordered=None))
