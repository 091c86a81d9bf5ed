"""`alerts` → SMS to the first people of the chain, and the escalation that begins with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from domain.notification.escalation import End, Ended, Remind, begun, ended, worsened
from domain.notification.paging import pages
from schemas import messages as m
from schemas.headers import trace_of
from schemas.topics import ALERTS, SMS_DLQ
from streams.engine.decoding import decoded

if TYPE_CHECKING:
    from streams.engine.consumer import Batch
    from streams.engine.interfaces import Clock
    from streams.notifications.alert_texts import AlertTexts, Breach
    from streams.notifications.chain_times import ChainTimes
    from streams.notifications.escalation_states import Changes, EscalationStates
    from streams.notifications.fallback import Fallback

AllClear = Literal["critical", "all", "none"]


class Paging:
    """Begins the escalation of an alert that pages, and ends it with the alert."""

    def __init__(
        self,
        states: EscalationStates,
        texts: AlertTexts,
        fallback: Fallback,
        now_ms: Clock,
        times: ChainTimes,
        all_clear: AllClear,
    ) -> None:
        self._states = states
        self._texts = texts
        self._fallback = fallback
        self._now_ms = now_ms
        self._times = times
        self._all_clear = all_clear

    async def handle(self, batch: Batch) -> None:
        messages, dead = decoded(batch, ALERTS, SMS_DLQ, self._now_ms())
        async with self._states.changing(batch) as changes:
            changes.outgoing += dead
            for record, alert in messages:
                if isinstance(alert, m.AlertResolved):
                    self._resolve(changes, alert)
                else:
                    self._page(changes, alert, trace_of(dict(record.headers)))

    def _page(self, changes: Changes, alert: Breach, trace: bytes) -> None:
        state = changes.state(alert.alert_id)
        escalation, former, notified = state.escalation, state.alert, False
        paged: tuple[str, ...] = ()
        if escalation.ended is End.RESOLVED:
            # Read again, after its end.
            changes.put(state)
            return
        if pages(alert):
            now_ms, times = self._now_ms(), self._times.of(alert.organization_id, alert.severity)
            escalation, step = begun(escalation, self._texts.levels(alert), now_ms, times)
            match step:
                case Remind():
                    changes.send([*self._texts.step(alert, step), self._texts.stepped(alert, step)], trace)
                    notified = True
                    paged = step.level.user_ids
                case Ended():
                    records, paged = self._fallback.asked(alert, step, escalation)
                    changes.send([self._texts.ended(alert, step, escalation), *records], trace)
                case _ if former is not None and alert.severity.rank < former.severity.rank:
                    escalation = worsened(escalation, self._texts.levels(alert), now_ms, times)
                    if escalation.silenced_until_ms <= now_ms:
                        changes.send(self._texts.worse(alert), trace)
        if state.notify_now is not None and not notified:
            changes.send(self._texts.notify_now(alert, escalation, state.notify_now), trace)
        newest = alert if former is None or alert.at_ms >= former.at_ms else former
        changes.put(
            msgspec.structs.replace(
                state,
                escalation=escalation,
                alert=newest,
                notify_now=None,
                trace=trace,
            ).paging(paged, self._texts.numbers(paged))
        )

    def _resolve(self, changes: Changes, alert: m.AlertResolved) -> None:
        """What remains says that it ended, so that nothing which is read late or again begins again."""
        state = changes.state(alert.alert_id)
        if self._all_clear == "all" or (self._all_clear == "critical" and alert.severity is m.Severity.CRITICAL):
            changes.send(self._texts.all_clear(alert, state.paged) if state.paged else (), state.trace)
        over = ended(state.escalation, End.RESOLVED)
        changes.put(msgspec.structs.replace(state, escalation=over, alert=None, notify_now=None, paged=(), numbers={}))
