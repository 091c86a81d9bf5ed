"""Second stage: when the next SMS may leave, by this worker's share of the global rate and cap and the circuit breaker.

The rate is kept twice. Before a message is chosen, so that the choice falls as late as possible and a critical one
that has just come goes first; and again when its request leaves, because what lies in between (the ledger's write)
takes now 2 ms and now 200, and what left evenly spaced would arrive in a burst.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import msgspec
import structlog

from domain.notification.circuit_breaker import CircuitBreaker, Hold
from domain.notification.pacing import Pacer, Shares, concurrency

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from domain.notification.answers import Answer

log = structlog.get_logger(__name__)

LOOK_AGAIN_S = 0.1
FOLLOW_EVERY_MS = 50.0


class Limits(msgspec.Struct, frozen=True):
    """`per_second` and `cap` hold for all workers together; `per_worker` is how many requests one has under way."""

    partitions: int
    per_second: int
    cap: int
    per_worker: int


class RateLimiter:
    """One a worker. `owned` gives the lanes' partitions that are ours now; nothing while the group rebalances."""

    def __init__(self, limits: Limits, owned: Callable[[], Collection[int]], now_ms: Callable[[], int]) -> None:
        self._limits = limits
        self._owned = owned
        self._now_ms = now_ms
        self._shares = Shares(limits.partitions)
        self._followed_ms = -FOLLOW_EVERY_MS
        self._chosen = Pacer()
        self._left = Pacer()
        self._leaving = asyncio.Lock()
        self._changed = asyncio.Event()
        self._breaker = CircuitBreaker()
        self.in_flight = 0

    @property
    def breaker(self) -> CircuitBreaker:
        return self._breaker

    def follow(self) -> None:
        """Look which partitions are ours, also while nothing waits: a new share may be used a second after this."""
        self._follow(_monotonic_ms())

    def changed(self) -> None:
        """Something that the limiter waits for may have happened."""
        self._changed.set()

    async def opens(self) -> bool:
        """Wait until a message may be chosen, a tenth of a second at most; whether it may now."""
        wait_s = self._wait_s()
        if wait_s <= 0:
            return True
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(wait_s, LOOK_AGAIN_S)):
                await self._changed.wait()
        return self._wait_s() <= 0

    def _wait_s(self) -> float:
        now_ms = _monotonic_ms()
        shares = self._follow(now_ms)
        if self.in_flight >= concurrency(shares, self._limits.cap, self._limits.per_worker, now_ms):
            return LOOK_AGAIN_S
        wait_ms = self._chosen.wait_ms(shares.of(self._limits.per_second, now_ms), now_ms)
        if wait_ms is None:
            return LOOK_AGAIN_S
        # Looking must not use up the probe: `pass_through` does.
        _, permit = self._breaker.permit(self._now_ms())
        if isinstance(permit, Hold):
            wait_ms = max(wait_ms, permit.until_ms - self._now_ms())
        return wait_ms / 1000

    def _follow(self, now_ms: float) -> Shares:
        if now_ms - self._followed_ms >= FOLLOW_EVERY_MS:
            self._followed_ms = now_ms
            # During a rebalance nothing may leave anyway; the shares of what stays are not lost by it.
            if owned := self._owned():
                self._shares = self._shares.reassigned(owned, now_ms)
        return self._shares

    def pass_through(self) -> None:
        """A message was chosen; say `back` when it is settled."""
        self.in_flight += 1
        self._chosen = self._chosen.left(_monotonic_ms())
        self._breaker, _ = self._breaker.permit(self._now_ms())

    def back(self) -> None:
        self.in_flight -= 1
        self._changed.set()

    async def leave(self) -> None:
        """Wait until the request of a chosen message may leave: never closer to the one before than the rate allows."""
        async with self._leaving:
            while True:
                now_ms = _monotonic_ms()
                wait_ms = self._left.wait_ms(self._shares.of(self._limits.per_second, now_ms), now_ms)
                if wait_ms == 0:
                    break
                await asyncio.sleep(LOOK_AGAIN_S if wait_ms is None else wait_ms / 1000)
                self._follow(_monotonic_ms())
            self._left = self._left.left(_monotonic_ms())

    def answered(self, answer: Answer) -> None:
        """What an answer says of the provider; ops is notified once when the breaker opens, and when it closes."""
        before = self._breaker.opened
        self._breaker = self._breaker.after(answer, self._now_ms())
        after = self._breaker.opened
        if after is not None and before is None:
            log.error("provider.paused", cause=after.cause, code=after.code, error=after.error)
        elif after is not None and before is not None and after.cause != before.cause:
            log.error("provider.still_paused", cause=after.cause, code=after.code, error=after.error)
        elif after is None and before is not None:
            seconds = round((self._now_ms() - before.since_ms) / 1000, 1)
            log.info("provider.open_again", after_s=seconds, probes=before.probes)
        self._changed.set()


def _monotonic_ms() -> float:
    return time.monotonic() * 1000
