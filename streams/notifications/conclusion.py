"""Last stage: carries out a decision about one SMS. It publishes what follows, sets timers, then writes the ledger.

Whoever calls holds the lock of the request's user. Run twice, it publishes records with the same ids and sets the same
timers; the ledger then says that it is done.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from domain.notification import receipts
from domain.notification.decisions import AwaitReceipt, HeldBack, Sent, name_of
from domain.notification.rate_limit import Held
from domain.notification.request_state import RequestState
from schemas import messages as m
from schemas.headers import event_headers
from schemas.topics import SMS_RETRIES
from streams.engine.timers import Timer
from streams.notifications.consequences import Consequences
from streams.notifications.decision_log import log_decision
from streams.notifications.windows import counts_for_window

if TYPE_CHECKING:
    from domain.notification.decisions import Decision
    from domain.notification.rate_limit import Window
    from schemas.headers import Origin
    from streams.engine.interfaces import Clock, Publish, Slot
    from streams.engine.timers import Timers
    from streams.notifications.ledger import Change, Entry, Ledger
    from streams.notifications.outcomes import Outcomes
    from streams.notifications.second_way import SecondWay
    from streams.notifications.sms_policy import SmsPolicy

decode_request = msgspec.json.Decoder(m.SmsRequest).decode


class Conclusion:
    def __init__(
        self,
        *,
        publish: Publish,
        outcomes: Outcomes,
        ledger: Ledger,
        timers: Timers,
        second_way: SecondWay,
        policy: SmsPolicy,
        now_ms: Clock,
    ) -> None:
        self._publish = publish
        self._outcomes = outcomes
        self._consequences = Consequences(outcomes, now_ms)
        self._ledger = ledger
        self._timers = timers
        self._second_way = second_way
        self._policy = policy
        self._now_ms = now_ms
        self.decided: Counter[tuple[m.Severity, str]] = Counter()

    async def carry_out(
        self,
        slot: Slot,
        request: m.SmsRequest,
        entry: Entry,
        attempt: int,
        decision: Decision,
        *,
        origin: Origin | None = None,
        asked: bool = False,
    ) -> None:
        """`attempt` counts the attempts that are used up by now, `asked` whether the provider answered just now."""
        now_ms = self._now_ms()
        follows = self._consequences.of(request, attempt, decision, origin, asked=asked, number=entry.to_e164)
        after = msgspec.structs.replace(
            entry,
            state=follows.state,
            attempt=follows.used,
            redrives=request.redrives,
            changed_at_ms=now_ms,
            request=b"",
            begun_at_ms=entry.begun_at_ms or now_ms,
        )
        change = self._ledger.change(slot)
        named: list[m.SmsRequest] = []
        match decision:
            case Sent(provider_message_id):
                named = [decode_request(raw) for raw in after.carried]
                for one in named:
                    follows.outgoing.extend(self._outcomes.named(one, provider_message_id, request.request_id))
                after = self._accepted(after, request, decision)
                change.notified(request, now_ms)
            case AwaitReceipt() if after.receipt is not None:
                after = msgspec.structs.replace(
                    after, receipt=receipts.unanswered(after.receipt), request=m.encode(request)
                )
            case HeldBack():
                after = msgspec.structs.replace(after, waited_for_window=True, only_named=decision.over)
        after = await self._second_way.beside(slot, request, after, follows)
        await self._publish(follows.outgoing)
        if isinstance(decision, Sent) and after.request and after.receipt is not None:
            await self.watch(slot, request, after.receipt)
        change.entry(request.request_id, after)
        for one in named:
            self._named(change, slot, one, now_ms)
        change.window(request, self._moved(slot, request, after, decision, now_ms))
        await change.write()
        self.decided[request.severity, name_of(decision)] += 1
        log_decision(request, follows.used, decision)

    def _named(self, change: Change, slot: Slot, request: m.SmsRequest, now_ms: int) -> None:
        """The SMS of another request named this one's alert: it is settled, and its user may acknowledge it."""
        entry = self._ledger.entry(slot, request.request_id).of(request)
        settled = msgspec.structs.replace(
            entry, state=RequestState.SENT, redrives=request.redrives, changed_at_ms=now_ms
        )
        change.entry(request.request_id, settled)
        change.notified(request, now_ms)

    def _moved(self, slot: Slot, request: m.SmsRequest, entry: Entry, decision: Decision, now_ms: int) -> Window:
        window = self._ledger.window(slot, request)
        match decision:
            case HeldBack(until_at_ms):
                return window.holding(Held(request.request_id, m.encode(request)), until_at_ms)
            case Sent() if counts_for_window(request):
                named = {request.request_id, *(decode_request(raw).request_id for raw in entry.carried)}
                sent = window.named(frozenset(named))
                return sent.sent(request.request_id, now_ms, self._policy.window_ms)
            case AwaitReceipt():
                return window
            case _:
                if entry.state is RequestState.CLOSED:
                    window = window.named(frozenset({request.request_id}))
                return window.released(request.request_id)

    def _accepted(self, entry: Entry, request: m.SmsRequest, sent: Sent) -> Entry:
        if entry.receipt is None:
            return entry
        receipt = receipts.accepted(entry.receipt, sent.provider_message_id)
        # The message is needed again only if a receipt may still say that it failed.
        waiting = self._policy.receipts and receipt.state in receipts.OPEN
        return msgspec.structs.replace(entry, receipt=receipt, request=m.encode(request) if waiting else b"")

    async def watch(self, slot: Slot, request: m.SmsRequest, receipt: receipts.Attempt) -> None:
        """When no final receipt comes, the provider is asked."""
        due = m.ReceiptDue(request_id=request.request_id, user_id=request.user_id, attempt_id=receipt.attempt_id)
        timer = Timer(
            timer_id=watch_id(request.request_id),
            due_at_ms=receipts.due_at_ms(receipt, self._policy.waits),
            topic=SMS_RETRIES,
            key=request.user_id.encode(),
            value=m.encode(due),
            headers=event_headers(f"{receipt.attempt_id}.{receipt.polls}", "receipt_due"),
        )
        await self._timers.set(slot, [timer])


def watch_id(request_id: str) -> str:
    """The timer that asks for a request's final receipt."""
    return f"receipt.{request_id}"
