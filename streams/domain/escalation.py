"""Who hears of an alert next when nobody answers, up to the end of the organization's chain.

Level 1 is told first. After 15 minutes without an acknowledgement the next level's contacts are told; where the chain
has no other level, the same people are reminded once more. An SMS that cannot be delivered, or of which nothing is
known, does not wait for the 15 minutes, unless somebody else at that level has the alert on the phone: then it was
heard, and the clock goes on. An acknowledgement or the alert's end cancels everything.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas import messages as m

WAIT_MS = 15 * 60_000


class Level(msgspec.Struct, frozen=True, array_like=True):
    """The people who are told together; `number` counts from 1."""

    number: int
    user_ids: tuple[str, ...]


class End(StrEnum):
    """Why an escalation goes no further."""

    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    CHAIN_ENDED = "chain_ended"


class Escalation(msgspec.Struct, frozen=True, array_like=True):
    """One alert's way through the chain; `due_at_ms` is when the next level is told, unless it ended before."""

    alert_id: str
    level: Level
    due_at_ms: int
    delivered: frozenset[str] = frozenset()
    missed: frozenset[str] = frozenset()
    ended: End | None = None


class Remind(msgspec.Struct, frozen=True):
    """Tell the people of this level now."""

    level: Level


class Ended(msgspec.Struct, frozen=True):
    """The chain is at its end and nobody answered: ops is told."""


class NotDue(msgspec.Struct, frozen=True):
    """Nothing follows: too early, or it ended. A timer that fires late or twice finds this."""


Step = Remind | Ended | NotDue


def chain(contacts: Iterable[m.Contact], severity: m.Severity) -> tuple[Level, ...]:
    """The levels of an organization for an alert of `severity`, without those that nobody on duty is at."""
    levels: dict[int, list[str]] = {}
    for contact in contacts:
        if contact.on_duty and contact.minimum_severity.admits(severity):
            levels.setdefault(contact.escalation_level, []).append(contact.user_id)
    return tuple(Level(number, tuple(sorted(users))) for number, users in sorted(levels.items()))


def begun(alert_id: str, levels: tuple[Level, ...], now_ms: int, wait_ms: int = WAIT_MS) -> Escalation | None:
    """The alert begins to page: the first level is told now. None when nobody is in the chain."""
    if not levels:
        return None
    return Escalation(alert_id, levels[0], now_ms + wait_ms)


def ended(escalation: Escalation, why: End) -> Escalation:
    """Acknowledged or resolved; what ended stays ended for the first reason."""
    return escalation if escalation.ended else msgspec.structs.replace(escalation, ended=why)


def delivered(escalation: Escalation, user_id: str, level: int) -> Escalation:
    """A receipt says that the SMS of this level is on the phone of `user_id`."""
    if level != escalation.level.number or user_id not in escalation.level.user_ids:
        return escalation
    return msgspec.structs.replace(
        escalation, delivered=escalation.delivered | {user_id}, missed=escalation.missed - {user_id}
    )


def not_delivered(escalation: Escalation, user_id: str, level: int, now_ms: int) -> Escalation:
    """The SMS of this level failed for good, or what became of it stays unknown: the next level is due at once.

    News of an earlier level changes nothing: the one after it was told already.
    """
    if escalation.ended or level != escalation.level.number or user_id not in escalation.level.user_ids:
        return escalation
    missed = escalation.missed | {user_id}
    heard = escalation.delivered - missed
    due_at_ms = escalation.due_at_ms if heard else min(escalation.due_at_ms, now_ms)
    return msgspec.structs.replace(
        escalation, missed=missed, delivered=escalation.delivered - {user_id}, due_at_ms=due_at_ms
    )


def stepped(
    escalation: Escalation, levels: tuple[Level, ...], now_ms: int, wait_ms: int = WAIT_MS
) -> tuple[Escalation, Step]:
    """The timer fired: the next level, the end of the chain, or nothing.

    `levels` is the chain as it is now: people go off duty while an alert is open.
    """
    if escalation.ended or now_ms < escalation.due_at_ms:
        return escalation, NotDue()
    following = next_level(escalation.level, levels)
    if following is None:
        return msgspec.structs.replace(escalation, ended=End.CHAIN_ENDED), Ended()
    return Escalation(escalation.alert_id, following, now_ms + wait_ms), Remind(following)


def next_level(present: Level, levels: tuple[Level, ...]) -> Level | None:
    """The chain's next level above `present`; where nobody is above level 1, its people once more, as level 2."""
    for level in levels:
        if level.number > present.number:
            return level
    if present.number > 1:
        return None
    again = next((level.user_ids for level in levels if level.number == present.number), present.user_ids)
    return Level(2, again)
