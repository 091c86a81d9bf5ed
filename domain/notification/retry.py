"""When to try again: pure functions of the attempt that failed, with the randomness handed in.

Jitter only ever adds (0 to 50 %): what failed together comes back spread out, and never earlier than the formula says.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import random

JITTER = 0.5
THROTTLED_S = 60.0
TIMEOUT_STEP_S = 5.0
LONGEST_WAIT_S = 3600.0
PROVIDER_BASE_S = 1.0
LONGEST_PROVIDER_WAIT_S = 15.0
LONGEST_TIMEOUT_WAIT_S = 300.0


class BackOff(StrEnum):
    FIXED = "fixed"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often to try, and how long to wait in between. `attempts` counts the first try too."""

    attempts: int
    back_off: BackOff
    base_s: float
    jitter: float = JITTER

    def allows_another(self, attempt: int) -> bool:
        """Whether a try may follow after `attempt` tries were made."""
        return attempt < self.attempts

    def delay_s(self, attempt: int, rng: random.Random) -> float:
        """The wait after the `attempt`-th try failed (1 is the first)."""
        return jittered(plain_delay_s(self.back_off, self.base_s, attempt), rng, self.jitter)


DIGEST_GENERATION = RetryPolicy(attempts=2, back_off=BackOff.FIXED, base_s=5.0, jitter=0.0)


def plain_delay_s(back_off: BackOff, base_s: float, attempt: int) -> float:
    """The wait before jitter: `base_s`, `attempt * base_s` or `2 ** (attempt - 1) * base_s`, an hour at most."""
    if attempt < 1:
        raise ValueError(f"attempt {attempt}: the first one is 1")
    match back_off:
        case BackOff.FIXED:
            factor = 1
        case BackOff.LINEAR:
            factor = attempt
        case BackOff.EXPONENTIAL:
            factor = 2 ** min(attempt - 1, 32)
    return min(base_s * factor, LONGEST_WAIT_S)


def jittered(delay_s: float, rng: random.Random, jitter: float = JITTER) -> float:
    """`delay_s` plus 0 to `jitter` of it."""
    return delay_s * (1 + jitter * rng.random())


def throttled_delay_s(retry_after_s: float | None) -> float:
    """After "too many requests": what the provider says, else a minute. An absurd answer counts as an hour, or now."""
    if retry_after_s is None or retry_after_s != retry_after_s:  # noqa: PLR0124 - NaN
        return THROTTLED_S
    return min(max(retry_after_s, 0.0), LONGEST_WAIT_S)


def provider_delay_s(failures: int, rng: random.Random) -> float:
    """After an answer that speaks of the provider: 1 s, 2 s, 4 s …, 15 s at most, so that a page leaves soon after."""
    return min(jittered(PROVIDER_BASE_S * 2 ** min(failures, 32), rng), LONGEST_PROVIDER_WAIT_S)


def timeout_delay_s(failures: int) -> float:
    """After the `failures`-th try without an answer: 5 s, 10 s, 15 s …, 5 minutes at most; each may be a copy."""
    return min(plain_delay_s(BackOff.LINEAR, TIMEOUT_STEP_S, failures), LONGEST_TIMEOUT_WAIT_S)
