"""The global rate and the global cap, kept by each worker for its share of the partitions, without a coordinator.

A limit is dealt out to the partitions in whole numbers, so the shares of all workers never add up to more. Each
worker then spaces its messages evenly (GCRA with a burst of one): the price is that a burst of its own waits, the gain
that *no* window of a second holds more than the limit, which a counter per second cannot promise.

A partition that changes hands takes its share along only after a full window. Until then the former owner's last
messages still count at the provider.

Times are milliseconds of a clock that never goes back (the monotonic one); the wall clock would turn a correction by
the time server into a burst or a standstill.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection

WINDOW_MS = 1000.0
JITTER_MS = 50.0
"""How unevenly messages may arrive that left evenly: the spacing is for a window that is longer by this."""


def partition_share(limit: int, partitions: int, partition: int) -> int:
    """What one partition gets of `limit` per second, or of `limit` places: the remainder goes to the first ones."""
    if limit < partitions:
        raise ValueError(
            f"a global limit of {limit} cannot be shared by {partitions} partitions: raise it to {partitions} or more"
        )
    return limit // partitions + (partition < limit % partitions)


def share(limit: int, partitions: int, mine: Collection[int]) -> int:
    """What the partitions `mine` get together."""
    return sum(partition_share(limit, partitions, partition) for partition in mine)


class Shares(msgspec.Struct, frozen=True):
    """The partitions of one worker, each with the moment from which its share may be used."""

    partitions: int
    usable_from_ms: dict[int, float] = {}

    def reassigned(self, mine: Collection[int], now_ms: float) -> Shares:
        """After a rebalance: what was ours goes on, what is new waits for a window."""
        new_from_ms = now_ms + WINDOW_MS + JITTER_MS
        return Shares(self.partitions, {p: self.usable_from_ms.get(p, new_from_ms) for p in mine})

    def of(self, limit: int, now_ms: float) -> int:
        """Our share of `limit` now; 0 for about a second after the first assignment."""
        usable = [p for p, from_ms in self.usable_from_ms.items() if from_ms <= now_ms]
        return share(limit, self.partitions, usable)


def concurrency(shares: Shares, global_cap: int, per_worker: int, now_ms: float) -> int:
    """How many requests this worker may have in flight."""
    return min(per_worker, shares.of(global_cap, now_ms))


class Pacer(msgspec.Struct, frozen=True):
    """GCRA with a burst of one: the earliest moment of the next message is all that it remembers."""

    last_ms: float | None = None

    def wait_ms(self, per_second: int, now_ms: float) -> float | None:
        """How long until the next message may leave (0: now); None while the share is 0.

        `per_second` may change between calls: the spacing to the last message is that of the present rate.
        """
        if per_second <= 0:
            return None
        if self.last_ms is None:
            return 0.0
        return max(self.last_ms + spacing_ms(per_second) - now_ms, 0.0)

    def left(self, now_ms: float) -> Pacer:
        """A message left at `now_ms`."""
        return Pacer(now_ms)


def spacing_ms(per_second: int) -> float:
    """The distance between two messages, such that no second holds more than `per_second`."""
    return (WINDOW_MS + JITTER_MS) / per_second
