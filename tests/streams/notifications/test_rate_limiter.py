"""The gate: a worker's share of the global rate and cap, kept where the request leaves."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from domain.notification.answers import Accepted, NoAnswer, Unanswered
from streams.notifications.rate_limiter import Limits, RateLimiter
from streams.notifications.telnyx.codes import refused

pytestmark = pytest.mark.anyio

ACCEPTED = Accepted("message-1", 1)


def limits(partitions: int, per_second: int = 100, cap: int = 20, per_worker: int = 10) -> Limits:
    return Limits(partitions, per_second, cap, per_worker)


class Clock:
    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


async def opened(gate: RateLimiter) -> None:
    """Returns when a message may be chosen."""
    async with asyncio.timeout(5):
        while not await gate.opens():
            pass


async def open_gate(limits: Limits, owned: list[int], clock: Clock | None = None) -> RateLimiter:
    """A gate whose partitions have been ours for a while."""
    gate = RateLimiter(limits, lambda: owned, clock or Clock())
    await opened(gate)
    return gate


async def test_what_a_rebalance_brought_may_be_used_only_after_a_full_second() -> None:
    gate = RateLimiter(limits(4), lambda: [0, 1, 2, 3], Clock())
    begin = time.monotonic()
    await opened(gate)
    assert time.monotonic() - begin >= 1.0


async def test_a_share_that_came_while_nothing_waited_may_be_used_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("streams.notifications.rate_limiter._monotonic_ms", clock)
    gate = RateLimiter(limits(4), lambda: [0, 1, 2, 3], clock)
    gate.follow()
    clock.ms += 1_100
    assert await gate.opens()


async def test_requests_leave_no_closer_than_the_share_of_the_rate_allows() -> None:
    # One of four partitions: 10 of 40 a second.
    gate = await open_gate(limits(4, per_second=40), [2])
    left: list[float] = []

    async def leave() -> None:
        await gate.leave()
        left.append(time.monotonic())

    await asyncio.gather(*(leave() for _ in range(6)))
    gaps = [later - earlier for earlier, later in itertools.pairwise(left)]
    assert min(gaps) >= 0.1


async def test_no_more_than_the_share_of_the_cap_is_under_way() -> None:
    gate = await open_gate(limits(4, per_second=100_000, cap=8, per_worker=10), [0, 3])
    for _ in range(4):
        await opened(gate)
        gate.pass_through()
    assert not await gate.opens()
    gate.back()
    await opened(gate)


async def test_a_worker_without_partitions_sends_nothing() -> None:
    gate = RateLimiter(limits(4), list, Clock())
    assert not await gate.opens()


async def test_while_the_way_is_closed_one_probe_passes_at_a_time_and_an_answer_opens_it() -> None:
    clock = Clock()
    gate = await open_gate(limits(1, per_second=100_000), [0], clock)
    gate.answered(refused("10009", 401, "Authentication failed"))
    assert not await gate.opens()
    clock.ms += 1_000
    await opened(gate)
    gate.pass_through()
    assert not await gate.opens()
    gate.answered(Unanswered(NoAnswer.NOT_CONNECTED))
    gate.back()
    assert not await gate.opens()
    clock.ms += 2_000
    await opened(gate)
    gate.pass_through()
    gate.answered(ACCEPTED)
    gate.back()
    await opened(gate)
