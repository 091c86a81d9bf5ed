"""Who is notified of an alert next when nobody answers, up to the end of the organization's chain.

Level 1 is notified first. Without an acknowledgement the next level's contacts follow after a wait (15 minutes); where
the chain has no other level, the same people are reminded once more. An SMS that cannot be delivered, or of which
nothing is known, cuts the wait short, unless somebody else at that level has the alert on the phone. An acknowledgement
or the alert's end cancels everything. A silence only puts off: what falls due meanwhile is done when it ends.

Commands and alerts come by different ways, so that an acknowledgement may be known before its alert is: an Escalation
that has not begun already takes it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from schemas import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterable


class Times(msgspec.Struct, frozen=True):
    """How long a level has to answer, and after what the chain goes on although it had ended.

    `again_ms`: nobody answered. `lapse_ms`: somebody acknowledged, and the alert is not over. Both are None where
    an end is final. `look_again_ms`: nobody was on duty.
    """

    wait_ms: int
    again_ms: int | None
    lapse_ms: int | None
    look_again_ms: int

    def of(self, severity: m.Severity) -> Times:
        """The times of an alert: what was about critical ones ends for good for any other."""
        if severity is m.Severity.CRITICAL:
            return self
        return msgspec.structs.replace(self, again_ms=None, lapse_ms=None)


class Level(msgspec.Struct, frozen=True, array_like=True):
    """The people who are notified together; `number` counts from 1."""

    number: int
    user_ids: tuple[str, ...]


UNNOTIFIED = Level(0, ())


class End(StrEnum):
    """Why an escalation goes no further; each is more final than the one before it."""

    NOBODY_ON_DUTY = "nobody_on_duty"
    CHAIN_ENDED = "chain_ended"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


_FINALITY = {why: number for number, why in enumerate(End)}


class Escalation(msgspec.Struct, frozen=True, array_like=True):
    """One alert's way through the chain; `level` was notified last.

    `due_at_ms` is None until the alert begins to page.
    """

    alert_id: str
    level: Level = UNNOTIFIED
    due_at_ms: int | None = None
    delivered: frozenset[str] = frozenset()
    undelivered: frozenset[str] = frozenset()
    ended: End | None = None
    silenced_until_ms: int = 0
    round: int = 0
    """How often the chain began again: nobody had answered, or an acknowledgement lapsed."""
    lapses_at_ms: int | None = None
    """Until when the acknowledgement counts; None for one that is final, or was written before they lapsed."""

    @property
    def next_at_ms(self) -> int | None:
        """When the next step is due; None when none is, as things stand."""
        due_at_ms = self.lapses_at_ms if self.ended is End.ACKNOWLEDGED else self.due_at_ms
        if self.ended is End.RESOLVED or due_at_ms is None:
            return None
        return max(due_at_ms, self.silenced_until_ms)

    @property
    def open(self) -> bool:
        """Whether the alert goes on and nobody has taken it."""
        return self.ended not in (End.ACKNOWLEDGED, End.RESOLVED)


class Remind(msgspec.Struct, frozen=True):
    """Notify the people of this level now; `first` when nobody was notified before.

    `again` says why the chain begins again with it: CHAIN_ENDED, or ACKNOWLEDGED when that lapsed.
    """

    level: Level
    first: bool = False
    round: int = 0
    again: End | None = None


class Ended(msgspec.Struct, frozen=True):
    """The chain is at its end and nobody answered, or nobody is in it: ops is notified."""

    because: End


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


def begun(escalation: Escalation, levels: tuple[Level, ...], now_ms: int, times: Times) -> tuple[Escalation, Step]:
    """The alert begins to page: the first level is notified now, or when a silence ends.

    What has begun or ended before stays as it is, so that an alert may be read again. Only an escalation that waits
    because nobody was on duty begins again.
    """
    if escalation.due_at_ms is not None and escalation.ended is not End.NOBODY_ON_DUTY:
        return escalation, NotDue()
    if escalation.ended not in (None, End.NOBODY_ON_DUTY):
        return escalation, NotDue()
    return stepped(msgspec.structs.replace(escalation, due_at_ms=now_ms, ended=None), levels, now_ms, times)


def ended(escalation: Escalation, why: End, lapses_at_ms: int | None = None) -> Escalation:
    """What ended stays ended, for the most final of the reasons; an acknowledgement until it lapses."""
    if escalation.ended and _FINALITY[escalation.ended] >= _FINALITY[why]:
        return escalation
    return msgspec.structs.replace(escalation, ended=why, due_at_ms=None, lapses_at_ms=lapses_at_ms)


def worsened(escalation: Escalation, levels: tuple[Level, ...], now_ms: int, times: Times) -> Escalation:
    """The alert rose in severity: an end that was final for the lesser one is what it is for the new one.

    With nobody on duty who could be notified of the rise, the ended chain goes on at once, which says so.
    """
    if escalation.next_at_ms is not None:
        return escalation
    if escalation.ended is End.ACKNOWLEDGED and times.lapse_ms is not None:
        return msgspec.structs.replace(escalation, lapses_at_ms=now_ms + times.lapse_ms)
    if escalation.ended is End.CHAIN_ENDED and times.again_ms is not None:
        return msgspec.structs.replace(escalation, due_at_ms=now_ms + (times.again_ms if levels else 0))
    return escalation


def silenced(escalation: Escalation, until_ms: int) -> Escalation:
    """Nobody is notified before `until_ms`. The newest command counts: an earlier time, or 0, shortens a silence."""
    return msgspec.structs.replace(escalation, silenced_until_ms=until_ms)


def delivered(escalation: Escalation, user_id: str, level: int) -> Escalation:
    """A receipt says that the SMS of this level is on the phone of `user_id`."""
    if level != escalation.level.number or user_id not in escalation.level.user_ids:
        return escalation
    return msgspec.structs.replace(
        escalation, delivered=escalation.delivered | {user_id}, undelivered=escalation.undelivered - {user_id}
    )


def not_delivered(escalation: Escalation, user_id: str, level: int, now_ms: int) -> Escalation:
    """The SMS of this level failed for good, or what became of it stays unknown: the next level is due at once.

    News of an earlier level changes nothing: the one after it was notified already.
    """
    due_at_ms = escalation.due_at_ms
    if escalation.ended or due_at_ms is None:
        return escalation
    if level != escalation.level.number or user_id not in escalation.level.user_ids:
        return escalation
    undelivered = escalation.undelivered | {user_id}
    on_a_phone = escalation.delivered - undelivered
    due_at_ms = due_at_ms if on_a_phone else min(due_at_ms, now_ms)
    return msgspec.structs.replace(
        escalation, undelivered=undelivered, delivered=escalation.delivered - {user_id}, due_at_ms=due_at_ms
    )


def stepped(escalation: Escalation, levels: tuple[Level, ...], now_ms: int, times: Times) -> tuple[Escalation, Step]:
    """The timer fired: the next level, the end of the chain, or nothing.

    `levels` is the chain as it is now: people go off duty while an alert is open, and come on duty.
    """
    if escalation.next_at_ms is None or now_ms < escalation.next_at_ms:
        return escalation, NotDue()
    if escalation.ended is End.ACKNOWLEDGED and times.lapse_ms is None:
        # The command was taken before its alert was known, as if that were critical.
        return msgspec.structs.replace(escalation, lapses_at_ms=None), NotDue()
    again = escalation.ended if escalation.ended is not End.NOBODY_ON_DUTY else None
    first = escalation.level == UNNOTIFIED
    following = next_level(UNNOTIFIED if again else escalation.level, levels)
    if following is not None:
        round_ = escalation.round + (again is not None)
        going_on = Escalation(escalation.alert_id, following, now_ms + times.wait_ms, round=round_)
        return going_on, Remind(following, first, round_, again)
    if first or again:
        # Nobody is on duty: the chain waits for somebody, and says so once a round, for the fallback contact to know.
        waiting = msgspec.structs.replace(
            escalation,
            level=UNNOTIFIED,
            ended=End.NOBODY_ON_DUTY,
            due_at_ms=now_ms + times.look_again_ms,
            lapses_at_ms=None,
            round=escalation.round + (again is not None),
        )
        said = escalation.ended is End.NOBODY_ON_DUTY
        return waiting, NotDue() if said else Ended(End.NOBODY_ON_DUTY)
    due_at_ms = None if times.again_ms is None else now_ms + times.again_ms
    return msgspec.structs.replace(escalation, ended=End.CHAIN_ENDED, due_at_ms=due_at_ms), Ended(End.CHAIN_ENDED)


def next_level(present: Level, levels: tuple[Level, ...]) -> Level | None:
    """The chain's next level above `present`; where it has but one level, its people once more, as the one above."""
    for level in levels:
        if level.number > present.number:
            return level
    if present.number != (levels[0].number if levels else 1):
        return None
    again = as_staffed_now(present, levels).user_ids
    return Level(present.number + 1, again) if again else None


def as_staffed_now(present: Level, levels: tuple[Level, ...]) -> Level:
    """The people who are on duty at `present` now; where nobody is, or the chain has no such level, those it had."""
    return next((level for level in levels if level.number == present.number), present)
