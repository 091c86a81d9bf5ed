"""When sending pauses as a whole: our set-up is refused, or the provider is down.

Nothing is burnt meanwhile: messages stay where they are and go out in the order of their lanes afterwards. One message
in a while is let through as a probe; the first answer that shows the way to be open ends the pause.

The provider counts as down at once when no connection can be made, which no single message can cause. Errors of its
side and missing answers could be about one message or number, so they count only when several in a row concern more
than one person: a number that always fails runs through its attempts and is given up, and holds back nobody.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from domain.notification.error_class import ErrorClass
from domain.notification.sms_answers import Accepted, Answer, Refused, Silence, Unanswered
from streams.notifications.telnyx.codes import classify

FAILURES_IN_A_ROW = 5
FIRST_PROBE_MS = 1_000
LONGEST_PROBE_MS = 15_000


class Cause(StrEnum):
    CONFIGURATION = "configuration"
    PROVIDER_DOWN = "provider_down"


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Why nothing is sent, since when, and when the next probe may leave."""

    cause: Cause
    code: str
    error: str
    since_ms: int
    probe_at_ms: int
    probes: int = 0


class Go(msgspec.Struct, frozen=True):
    """Send."""


class Probe(msgspec.Struct, frozen=True):
    """Send this one message, and no other before its answer or `probe_at_ms` of the new pause."""


class Hold(msgspec.Struct, frozen=True):
    """Send nothing until then."""

    until_ms: int


Permit = Go | Probe | Hold


class Way(msgspec.Struct, frozen=True):
    """The way to the provider, as this worker knows it; a new one is open."""

    failures: int = 0
    failed_for: frozenset[str] = frozenset()
    pause: Pause | None = None

    def permit(self, now_ms: int) -> tuple[Way, Permit]:
        """Whether a message may leave now. A probe moves the time of the next one, so only one leaves."""
        if self.pause is None:
            return self, Go()
        if now_ms < self.pause.probe_at_ms:
            return self, Hold(self.pause.probe_at_ms)
        probes = self.pause.probes + 1
        next_in_ms = min(FIRST_PROBE_MS * 2 ** min(probes, 16), LONGEST_PROBE_MS)
        probing = msgspec.structs.replace(self.pause, probes=probes, probe_at_ms=now_ms + next_in_ms)
        return msgspec.structs.replace(self, pause=probing), Probe()

    def after(self, answer: Answer, user_id: str, now_ms: int) -> Way:
        """What an answer says of the way. Compare `pause` before and after: ops is told when it began, once."""
        trouble = _trouble(answer)
        if trouble is None:
            return Way()
        way = Way(self.failures + 1, self.failed_for | {user_id}, self.pause)
        if way.pause is not None:
            # The cause can change (the provider is back and refuses our key); the next probe stays where it is.
            return msgspec.structs.replace(way, pause=trouble.told_of(way.pause))
        enough = way.failures >= FAILURES_IN_A_ROW and len(way.failed_for) > 1
        if not (trouble.at_once or enough):
            return way
        return msgspec.structs.replace(way, pause=trouble.pause(now_ms))

    @property
    def down_until_ms(self) -> int | None:
        """For `decisions.after_answer`: until when failures of the provider's side are deferred."""
        if self.pause is None or self.pause.cause is not Cause.PROVIDER_DOWN:
            return None
        return self.pause.probe_at_ms


class _Trouble(msgspec.Struct, frozen=True):
    cause: Cause
    code: str
    error: str
    at_once: bool

    def pause(self, now_ms: int) -> Pause:
        return Pause(
            cause=self.cause,
            code=self.code,
            error=self.error,
            since_ms=now_ms,
            probe_at_ms=now_ms + FIRST_PROBE_MS,
        )

    def told_of(self, pause: Pause) -> Pause:
        return msgspec.structs.replace(pause, cause=self.cause, code=self.code, error=self.error)


def _trouble(answer: Answer) -> _Trouble | None:
    """What an answer says against the way; None when it shows the provider at work, be it with a refusal."""
    match answer:
        case Accepted():
            return None
        case Unanswered(kind, detail):
            return _Trouble(Cause.PROVIDER_DOWN, str(kind), detail, at_once=kind is Silence.NOT_CONNECTED)
        case Refused(code, title, http_status):
            row = classify(code, http_status)
            if row.error_class is ErrorClass.CONFIGURATION:
                return _Trouble(Cause.CONFIGURATION, code, title or row.title, at_once=True)
            if http_status >= 500 and row.error_class is ErrorClass.TRANSIENT:
                return _Trouble(Cause.PROVIDER_DOWN, code, title or row.title, at_once=False)
            return None
