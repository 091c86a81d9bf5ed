"""While the circuit breaker is open, mails wait where they are; one at a time is let through as a probe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.notification.circuit_breaker import CircuitBreaker, Hold
from streams.engine.consumer import Stale

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from domain.notification.answers import Answer
    from streams.engine.consumer import Batch
    from streams.engine.interfaces import Clock

LOOK_AGAIN_S = 0.1


class Pause:
    """What this worker knows of its mail provider."""

    def __init__(self, now_ms: Clock, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._now_ms = now_ms
        self._sleep = sleep
        self._breaker = CircuitBreaker()

    @property
    def open_until_ms(self) -> int | None:
        return self._breaker.open_until_ms

    def answered(self, answer: Answer) -> None:
        self._breaker = self._breaker.after(answer, self._now_ms())

    async def permitted(self, batch: Batch) -> None:
        """Wait until a mail may leave; one that may not until the batch must end goes back: raises Stale."""
        while True:
            self._breaker, permit = self._breaker.permit(self._now_ms())
            if not isinstance(permit, Hold):
                return
            if batch.must_end():
                raise Stale
            await self._sleep(LOOK_AGAIN_S)
