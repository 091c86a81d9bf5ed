"""A provider that lies: it hangs, accepts and then fails, answers late; its receipts come twice, early, or never."""

from __future__ import annotations

import asyncio
import itertools
import zlib
from typing import TYPE_CHECKING, NamedTuple

from domain.notification.answers import Accepted, NoAnswer, Refused, Unanswered
from domain.notification.error_class import ErrorClass
from schemas import messages as m
from schemas.topics import SMS_RECEIPTS
from streams.notifications.provider import ProviderStatus
from streams.notifications.telnyx.codes import delivery_failed
from tests.simulation.partition_log import Unsent
from tests.simulation.processes import check_alive, running

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable
    from random import Random

    from domain.notification.answers import Answer
    from streams.notifications.provider import Sms
    from tests.simulation.broker import Broker

TIMEOUT_S = 3.0
HOLDS_NOTHING = ("unreachable", "swallows", "ill", "throttles", "busy", "rejects", "misconfigured")
REFUSALS = {
    "ill": Refused(ErrorClass.UNAVAILABLE, "http-503"),
    "throttles": Refused(ErrorClass.THROTTLED, "http-429", retry_after_s=2.0),
    "busy": Refused(ErrorClass.TRANSIENT, "40008"),
    "rejects": Refused(ErrorClass.RECIPIENT, "40310"),
    "misconfigured": Refused(ErrorClass.CONFIGURATION, "10009"),
}
LIES = (
    *HOLDS_NOTHING,
    *("hangs", "late", "fails", "fails for good", "no receipts", "twice", "out of order", "early", "unconfirmed"),
)


class Taken(NamedTuple):
    """A message that the provider accepted."""

    request_id: str
    attempt_id: str
    user_id: str
    left_at: float
    status: str


class SimProvider:
    """One for all workers. `on_leaving` is told of each request when it leaves, and may raise."""

    def __init__(
        self, broker: Broker, rng: Random, lies: tuple[str, ...], one_in: int, covered: Counter[str], *, webhooks: bool
    ) -> None:
        self.taken: dict[str, Taken] = {}
        self.on_leaving: Callable[[Sms], None] = lambda _: None
        self.on_taken: Callable[[Taken], None] = lambda _: None
        self._broker = broker
        self._rng = rng
        self._lies = lies
        self._one_in = one_in
        self._covered = covered
        self._webhooks = webhooks
        self._numbers = itertools.count(1)

    def heal(self) -> None:
        """It tells the truth from now on."""
        self._lies = ()

    def _lie(self) -> str:
        lie = "honest"
        if self._lies and self._rng.random() * self._one_in < 1:
            lie = self._rng.choice(self._lies)
        self._covered[f"provider {lie}"] += 1
        return lie

    async def send(self, sms: Sms) -> Answer:
        check_alive()
        lie, loop = self._lie(), self._broker.loop
        self.on_leaving(sms)
        if lie == "unreachable":
            await asyncio.sleep(self._rng.random() * 0.1)
            return Unanswered(NoAnswer.NOT_CONNECTED)
        future: asyncio.Future[Answer] = loop.create_future()
        self._broker.later(self._rng.uniform(0.01, 0.2), self._arrive, sms, lie, loop.time(), running.get(), future)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await future
        except TimeoutError:
            return Unanswered(NoAnswer.TIMEOUT)

    def _arrive(self, sms: Sms, lie: str, left_at: float, process: object, future: asyncio.Future[Answer]) -> None:
        rng = self._rng
        if lie in HOLDS_NOTHING:
            if lie in REFUSALS:
                self._answer(future, REFUSALS[lie], rng.uniform(0.01, 0.3))
            return
        assert sms.ids is not None
        status = {"fails": "sending_failed", "fails for good": "delivery_failed", "unconfirmed": "delivery_unconfirmed"}
        message_id = f"message-{next(self._numbers)}"
        taken = Taken(sms.ids.request, sms.ids.attempt, sms.ids.user, left_at, status.get(lie, "delivered"))
        self.taken[message_id] = taken
        self._broker.loop.note(f"provider takes {message_id}: {taken.request_id} {taken.attempt_id} ({lie})")
        self.on_taken(taken)
        if lie != "hangs":
            late = rng.uniform(TIMEOUT_S - 0.2, TIMEOUT_S * 3) if lie == "late" else rng.uniform(0.01, 0.5)
            self._answer(future, Accepted(message_id), late)
        self._report(message_id, taken, lie)

    def _answer(self, future: asyncio.Future[Answer], answer: Answer, after_s: float) -> None:
        def answer_now() -> None:
            if not future.done():
                future.set_result(answer)

        self._broker.later(after_s, answer_now)

    def _report(self, message_id: str, taken: Taken, lie: str) -> None:
        """Receipts as webhooks bring them, through the api, to their topic."""
        rng = self._rng
        if lie == "no receipts" or not self._webhooks:
            return
        begin = 0.0 if lie == "early" else rng.uniform(0.1, 1.0)
        first, final = begin, begin + rng.uniform(0.1, 3.0)
        if lie == "out of order":
            first, final = final, first
        for at, status in ((first, "sent"), (final, taken.status)):
            for _ in range(2 if lie == "twice" else 1):
                self._broker.later(at + rng.random() * 0.2, self._publish, message_id, taken, status)

    def _publish(self, message_id: str, taken: Taken, status: str) -> None:
        code = {"sending_failed": "40008", "delivery_failed": "40310"}.get(status)
        self.append(
            m.DeliveryReceipt(
                event_id=f"event-{next(self._numbers)}",
                user_id=taken.user_id,
                occurred_at_ms=self._broker.now_ms(),
                request_id=taken.request_id,
                attempt_id=taken.attempt_id,
                provider_message_id=message_id,
                status=status,
                error_code=code,
            )
        )

    def append(self, receipt: m.Receipt) -> None:
        logs = self._broker.topics[SMS_RECEIPTS.name]
        key = receipt.user_id.encode()
        logs[zlib.crc32(key) % len(logs)].append([Unsent(key, m.encode(receipt))], self._broker.now_ms())

    async def status(self, provider_message_id: str) -> ProviderStatus | Refused | Unanswered:
        """A question that it may leave open, too."""
        check_alive()
        await asyncio.sleep(self._rng.uniform(0.01, 0.3))
        if self._lie() != "honest":
            return Unanswered(NoAnswer.TIMEOUT)
        taken = self.taken[provider_message_id]
        error = delivery_failed("40008") if taken.status == "sending_failed" else delivery_failed("40310")
        return ProviderStatus(taken.status, error if taken.status.endswith("failed") else None)

    def delivery_failed(self, error_code: str | None) -> Refused:
        return delivery_failed(error_code)
