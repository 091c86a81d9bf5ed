"""When sending pauses as a whole: our set-up is refused, or the provider is down.

No message pays for it: messages stay where they are and leave in the order of their lanes afterwards. Now and then one
message is let through as a probe; the first answer that shows the provider at work closes the breaker again.

A refused set-up, or no connection at all, opens it at once: no single message can cause that. Errors of the provider's
side and missing answers open it when several follow each other without a success in between, whomever they concern:
with one contact on call nobody else would ever vouch for the outage.
"""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

import msgspec

from domain.notification.answers import Accepted, Answer, NoAnswer, Refused, Unanswered
from domain.notification.error_class import ErrorClass

FAILURES_IN_A_ROW = 5
FIRST_PROBE_MS = 1_000
LONGEST_PROBE_MS = 15_000


class Cause(StrEnum):
    CONFIGURATION = "configuration"
    PROVIDER_DOWN = "provider_down"


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    """A probe is under way."""


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """Why nothing is sent, since when, and when the next probe may leave."""

    cause: Cause
    code: str
    error: str
    since_ms: int
    probe_at_ms: int
    probes: int = 0
    probing: bool = False


class Go(msgspec.Struct, frozen=True):
    """Send."""


class Probe(msgspec.Struct, frozen=True):
    """Send this one message, and no other before its answer or the next `probe_at_ms`."""


class Hold(msgspec.Struct, frozen=True):
    """Send nothing until then."""

    until_ms: int


Permit = Go | Probe | Hold


class CircuitBreaker(msgspec.Struct, frozen=True):
    """What this worker knows of the provider; a new one is closed, so messages flow."""

    failures: int = 0
    opened: Opened | None = None

    @property
    def state(self) -> State:
        if self.opened is None:
            return State.CLOSED
        return State.HALF_OPEN if self.opened.probing else State.OPEN

    @property
    def open_until_ms(self) -> int | None:
        """For `retry_decision.after_answer`: until when the provider is not asked; None while messages flow."""
        return None if self.opened is None else self.opened.probe_at_ms

    def permit(self, now_ms: int) -> tuple[CircuitBreaker, Permit]:
        """Whether a message may leave now. A probe moves the time of the next one, so only one leaves."""
        if self.opened is None:
            return self, Go()
        if now_ms < self.opened.probe_at_ms:
            return self, Hold(self.opened.probe_at_ms)
        probes = self.opened.probes + 1
        next_in_ms = min(FIRST_PROBE_MS * 2 ** min(probes, 16), LONGEST_PROBE_MS)
        probing = msgspec.structs.replace(self.opened, probes=probes, probe_at_ms=now_ms + next_in_ms, probing=True)
        return msgspec.structs.replace(self, opened=probing), Probe()

    def after(self, answer: Answer, now_ms: int) -> CircuitBreaker:
        """What an answer says of the provider. Compare `opened` before and after: ops is notified once."""
        trouble = _trouble(answer)
        if trouble is None:
            return CircuitBreaker()
        failures = self.failures + 1
        if self.opened is not None:
            # The cause can change (the provider is back and refuses our key); the next probe stays where it is.
            opened = msgspec.structs.replace(
                self.opened, cause=trouble.cause, code=trouble.code, error=trouble.error, probing=False
            )
            return CircuitBreaker(failures, opened)
        if not (trouble.at_once or failures >= FAILURES_IN_A_ROW):
            return CircuitBreaker(failures)
        opened = Opened(
            cause=trouble.cause,
            code=trouble.code,
            error=trouble.error,
            since_ms=now_ms,
            probe_at_ms=now_ms + FIRST_PROBE_MS,
        )
        return CircuitBreaker(failures, opened)


class _Trouble(msgspec.Struct, frozen=True):
    cause: Cause
    code: str
    error: str
    at_once: bool = False


def _trouble(answer: Answer) -> _Trouble | None:
    """What an answer says against the provider; None if it responded, even with a rejection of this message."""
    match answer:
        case Accepted():
            return None
        case Unanswered(kind, detail):
            return _Trouble(Cause.PROVIDER_DOWN, str(kind), detail, at_once=kind is NoAnswer.NOT_CONNECTED)
        case Refused(ErrorClass.CONFIGURATION, code, title):
            return _Trouble(Cause.CONFIGURATION, code, title, at_once=True)
        case Refused(ErrorClass.UNAVAILABLE, code, title):
            return _Trouble(Cause.PROVIDER_DOWN, code, title)
        case Refused():
            return None
        case _:
            assert_never(answer)
