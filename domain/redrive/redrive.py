"""May a dead letter, or an SMS that was done with, be sent again? What speaks against it is named, and can be forced.

What cannot be made good is never forced: a letter that was sent again already, a record that is not there as a whole.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from domain.redrive.dead_letters import kind_of
from domain.redrive.redrive_record import Lifeless, Revived, request_again
from schemas.topics import SMS_LANES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from domain.redrive.dead_letters import Letter
    from schemas import messages as m

HOUR_MS = 3_600_000
MAX_AGE_MS = 24 * HOUR_MS
MOST_REDRIVES = 5

# After one of these more is to come of its own accord.
_OPEN_OUTCOMES = frozenset({"sending", "failed", "retry_scheduled", "unknown"})


class Reason(StrEnum):
    """Why a letter is not sent again."""

    SETTLED = "settled"
    LIFELESS = "lifeless"
    WOULD_FAIL = "would_fail"
    LOOP = "loop"
    STALE = "stale"
    ALERT_RESOLVED = "alert_resolved"
    ALERT_ACKNOWLEDGED = "alert_acknowledged"
    UNDER_WAY = "under_way"
    DEAD = "dead"
    GONE = "gone"


class Refused(Struct, frozen=True):
    """Not sent again; `detail` names the value, the rule and the way out. `forcible`: a person may overrule it."""

    reason: Reason
    detail: str
    forcible: bool = True


class Options(Struct, frozen=True, kw_only=True):
    """`force` overrules whatever is forcible."""

    force: bool = False
    max_age_ms: int = MAX_AGE_MS
    most_redrives: int = MOST_REDRIVES


class AlertStanding(Struct, frozen=True):
    """What is known of the alert that an SMS is about."""

    resolved: bool = False
    acknowledged_by: str | None = None


class Past(Struct, frozen=True):
    """An SMS as its lane holds it, with the most redrives; `outcome`: what was decided last since it came there."""

    request: m.SmsRequest
    outcome: str | None


def decide(
    letter: Letter,
    *,
    now_ms: int,
    options: Options,
    alert: AlertStanding | None = None,
    settled: m.DeadLetterSettled | None = None,
) -> Revived | Refused:
    """What becomes of a dead letter. `alert`, when it is known, is the one that the letter's SMS is about."""
    if settled is not None:
        return already_sent(settled.by, settled.redrives)
    kind = kind_of(letter)
    revived = kind.revive(letter)
    if isinstance(revived, Lifeless):
        return Refused(Reason.LIFELESS, revived.detail, forcible=False)
    if options.force:
        return revived
    facts = kind.facts(letter)
    doubts = list(_doubts(facts.redrives, facts.at_ms, "the letter", now_ms, options, alert))
    if doubt := kind.doubt(letter, now_ms):
        doubts.append(Refused(Reason.WOULD_FAIL, f"{doubt}; force it when that has changed"))
    return doubts[0] if doubts else revived


def decide_rerun(
    past: Past | None, *, now_ms: int, options: Options, alert: AlertStanding | None = None
) -> Revived | Refused:
    """What becomes of the wish to send an SMS again that was done with. `past` is None when no lane has it any more."""
    if past is None:
        return Refused(
            Reason.GONE,
            "no lane has a request with this id: lanes keep theirs for 7 days; check the id, or tell people anew by"
            " notifying about the alert",
            forcible=False,
        )
    request = past.request
    if past.outcome == "dead":
        return Refused(Reason.DEAD, "the request lies with the dead letters; send its letter again", forcible=False)
    revived = request_again(request, SMS_LANES[request.severity], request.user_id)
    if options.force:
        return revived
    if past.outcome is None or past.outcome in _OPEN_OUTCOMES:
        return Refused(
            Reason.UNDER_WAY,
            f"the request is not done with: its last outcome is {past.outcome or 'none yet'};"
            " wait for its end, or force a second one",
        )
    doubts = _doubts(request.redrives, request.requested_at_ms, "the request", now_ms, options, alert)
    return next(doubts, revived)


def already_sent(by: str | None, redrives: int) -> Refused:
    """The refusal of a letter that was settled."""
    return Refused(
        Reason.SETTLED,
        f"the letter was settled by {by or 'somebody'} (redrive {redrives}); when that fails too, a newer letter"
        " tells of it",
        forcible=False,
    )


def _doubts(
    redrives: int, at_ms: int, what: str, now_ms: int, options: Options, alert: AlertStanding | None
) -> Iterator[Refused]:
    if redrives >= options.most_redrives:
        yield Refused(
            Reason.LOOP,
            f"{what} was sent again {redrives} times, {options.most_redrives} are allowed; find out why it fails,"
            " then force it",
        )
    age_ms = now_ms - at_ms
    if age_ms > options.max_age_ms:
        yield Refused(
            Reason.STALE,
            f"{what} is {age_ms / HOUR_MS:.1f} h old, {options.max_age_ms / HOUR_MS:g} h are allowed: what it says"
            " may be over; allow a greater age, or force it",
        )
    if alert is not None and alert.resolved:
        yield Refused(Reason.ALERT_RESOLVED, "the alert is resolved: nobody needs to be told; force it all the same")
    elif alert is not None and alert.acknowledged_by is not None:
        yield Refused(
            Reason.ALERT_ACKNOWLEDGED,
            f"the alert was acknowledged by {alert.acknowledged_by}: somebody is at it; force it all the same",
        )
