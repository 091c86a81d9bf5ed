"""Waiting within a batch: for recorded buckets, or before another attempt, and never past the partition's end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from domain.digest.jobs import Readiness, is_recorded, waits_until_ms
from streams.engine.consumer import Stale

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from domain.digest.jobs import Job
    from streams.engine.consumer import Batch
    from streams.engine.interfaces import Clock

LOOK_AGAIN_S = 1.0
# Whoever asks for a digest prefers what there is to waiting for a recorder that is down.
ASKED_FOR_LIMIT_S = 15.0


class Recorded(Protocol):
    async def recorded_until_ms(self) -> int: ...


class Waiting:
    """`wait_s` limits the wait for recorded buckets."""

    def __init__(
        self, store: Recorded, wait_s: float, now_ms: Clock, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._store = store
        self._wait_s = wait_s
        self._now_ms = now_ms
        self.sleep = sleep

    async def until_recorded(
        self, batch: Batch, job: Job, wanted_at_ms: int, on_wait: Callable[[], Awaitable[None]]
    ) -> Readiness:
        """Until the recorded buckets reach the period's end, or the limit; calls `on_wait` once if it must wait."""
        period = job.period
        limit_s = min(self._wait_s, ASKED_FOR_LIMIT_S) if job.asked_for else self._wait_s
        # What lies in the future, by whatever mistake, must not hold the partition until then.
        since_ms = self._now_ms()
        until_ms = waits_until_ms(period, min(job.due_at_ms, since_ms), min(wanted_at_ms, since_ms), limit_s)
        if period.ends_at_ms > since_ms:
            until_ms = since_ms + round(limit_s * 1000)
        waits = False
        while True:
            recorded_until_ms = await self._store.recorded_until_ms()
            now_ms = self._now_ms()
            complete = is_recorded(period, recorded_until_ms)
            if complete or now_ms >= until_ms:
                waited_ms = max(0, now_ms - max(job.due_at_ms, wanted_at_ms))
                return Readiness(complete, waited_ms, recorded_until_ms)
            if not waits:
                waits = True
                await on_wait()
            await self.pause(batch, min(LOOK_AGAIN_S, (until_ms - now_ms) / 1000))

    async def pause(self, batch: Batch, seconds: float) -> None:
        """Raises Stale when the partition is about to go: the next owner starts over."""
        while True:
            if batch.must_end() or not batch.still_ours():
                raise Stale
            if seconds <= 0:
                return
            part = min(seconds, 0.25)
            await self.sleep(part)
            seconds -= part
