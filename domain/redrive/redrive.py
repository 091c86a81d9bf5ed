"""Decides whether a dead letter, or a finished SMS, is sent again. Objections are named, and most can be forced.

Force does not help where the result would be wrong: a dead letter that was redriven before, an incomplete record.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from domain.redrive.dead_letters import kind_of
from domain.redrive.redrive_record import NotRedrivable, RedriveRecord, request_again
from schemas import messages as m
from schemas.topics import SMS_LANES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from domain.redrive.dead_letters import DeadLetter

HOUR_MS = 3_600_000
MOST_REDRIVES = 5

# Another outcome follows these without anybody doing anything.
_OPEN_OUTCOMES = frozenset({"sending", "failed", "retry_scheduled", "unknown"})


class Reason(StrEnum):
    """Why nothing is sent again."""

    SETTLED = "settled"
    NOT_REDRIVABLE = "not_redrivable"
    WOULD_FAIL = "would_fail"
    LOOP = "loop"
    STALE = "stale"
    ALERT_RESOLVED = "alert_resolved"
    ALERT_ACKNOWLEDGED = "alert_acknowledged"
    UNDER_WAY = "under_way"
    DEAD = "dead"


class Refused(Struct, frozen=True):
    """Not sent again; `detail` names the value, the limit and the way out. `forcible`: `force` overrules it."""

    reason: Reason
    detail: str
    forcible: bool = True


class Options(Struct, frozen=True, kw_only=True):
    """`force` overrules whatever is forcible; a forced SMS also passes the rate limit's window."""

    force: bool
    max_age_ms: int


class AlertState(Struct, frozen=True):
    """What the database knows of an SMS's alert."""

    resolved: bool = False
    acknowledged_by: str | None = None


def decide(
    dead: DeadLetter, *, now_ms: int, options: Options, alert: AlertState | None = None
) -> RedriveRecord | Refused:
    """What to do with a dead letter that nobody settled. `alert`: the alert of its SMS, if the database knows it."""
    kind = kind_of(dead)
    if options.force and isinstance(dead, m.SmsDeadLetter):
        dead = structs.replace(dead, request=structs.replace(dead.request, forced=True))
    record = kind.redrive(dead)
    if isinstance(record, NotRedrivable):
        return Refused(Reason.NOT_REDRIVABLE, record.detail, forcible=False)
    if isinstance(dead, m.SmsDeadLetter) and (vain := _in_vain(dead.request, alert)):
        return vain
    if options.force:
        return record
    facts = kind.facts(dead)
    objections = list(_objections(facts.redrives, facts.at_ms, "the dead letter", now_ms, options, alert))
    if doubt := kind.doubt(dead, now_ms):
        objections.append(Refused(Reason.WOULD_FAIL, f"{doubt}; force it if that has changed"))
    return objections[0] if objections else record


def decide_rerun(
    request: m.SmsRequest, outcome: str | None, *, now_ms: int, options: Options, alert: AlertState | None = None
) -> RedriveRecord | Refused:
    """What to do when a person wants a finished SMS sent again.

    `request` is its newest redrive, `outcome` the tag of its last outcome since then (None: no outcome yet).
    """
    if outcome == "dead":
        return Refused(Reason.DEAD, "the request is a dead letter; redrive that instead", forcible=False)
    if options.force:
        request = structs.replace(request, forced=True)
    record = request_again(request, SMS_LANES[request.severity], request.user_id)
    if vain := _in_vain(request, alert):
        return vain
    if options.force:
        return record
    if outcome is None or outcome in _OPEN_OUTCOMES:
        return Refused(
            Reason.UNDER_WAY,
            f"the request is not finished: its last outcome is {outcome or 'none yet'};"
            " wait for the end, or force a second SMS",
        )
    objections = _objections(request.redrives, request.requested_at_ms, "the request", now_ms, options, alert)
    return next(objections, record)


def _in_vain(request: m.SmsRequest, alert: AlertState | None) -> Refused | None:
    """A reminder that the worker would cancel: saying "sent" and settling its letter would be wrong."""
    if alert is None or (request.level == 1 and request.round == 0):
        return None
    if alert.resolved:
        return Refused(Reason.ALERT_RESOLVED, "the alert is resolved, so its reminder is not sent", forcible=False)
    if alert.acknowledged_by is not None:
        return Refused(
            Reason.ALERT_ACKNOWLEDGED,
            f"the alert was acknowledged by {alert.acknowledged_by}, so its reminder is not sent; to notify people all"
            " the same, use Notify now",
            forcible=False,
        )
    return None


def already_sent(by: str | None, redrives: int) -> Refused:
    """The refusal of a dead letter that was settled before."""
    return Refused(
        Reason.SETTLED,
        f"the dead letter was settled by {by or 'somebody'} (redrive {redrives}); if that fails too, a new dead letter"
        " appears",
        forcible=False,
    )


def _objections(
    redrives: int, at_ms: int, what: str, now_ms: int, options: Options, alert: AlertState | None
) -> Iterator[Refused]:
    if redrives >= MOST_REDRIVES:
        yield Refused(
            Reason.LOOP,
            f"{what} was sent again {redrives} times, {MOST_REDRIVES} are allowed; find out why it fails,"
            " then force it",
        )
    age_ms = now_ms - at_ms
    if age_ms > options.max_age_ms:
        yield Refused(
            Reason.STALE,
            f"{what} is {age_ms / HOUR_MS:.1f} h old, {options.max_age_ms / HOUR_MS:g} h are allowed, so its text may"
            " be out of date; allow a greater age, or force it",
        )
    if alert is not None and alert.resolved:
        yield Refused(Reason.ALERT_RESOLVED, "the alert is resolved, so nobody needs this SMS; force it to send it")
    elif alert is not None and alert.acknowledged_by is not None:
        yield Refused(
            Reason.ALERT_ACKNOWLEDGED,
            f"the alert was acknowledged by {alert.acknowledged_by}; force it to send it anyway",
        )
