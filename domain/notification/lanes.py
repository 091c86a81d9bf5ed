"""Whose turn it is: critical before warning before info; within a lane round by organization; each user in order.

An organization in a storm waits behind itself, not before others. A user has one message in flight at a time, over
all lanes, so that two never overtake each other on the way to one phone.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import msgspec

from schemas.messages import SEVERITIES, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

HOUR_MS = 3_600_000


class Turn(NamedTuple, Generic[T]):
    """A message to send now. Say `done` with its user when it is settled."""

    item: T
    lane: Severity
    organization_id: str
    user_id: str


class _Queue(Generic[T]):
    """One organization in one lane: its users that could be served, in turn, and each user's messages in order."""

    def __init__(self) -> None:
        self.by_user: dict[str, deque[T]] = {}
        self.ready: OrderedDict[str, None] = OrderedDict()


class FairQueue(Generic[T]):
    """What waits in a worker. Adding and taking cost the same with 20 messages as with 20,000."""

    def __init__(self) -> None:
        self._lanes: dict[Severity, OrderedDict[str, _Queue[T]]] = {lane: OrderedDict() for lane in SEVERITIES}
        # Those of a lane's organizations that have somebody to serve, in the order of their turns.
        self._rounds: dict[Severity, OrderedDict[str, None]] = {lane: OrderedDict() for lane in SEVERITIES}
        self._busy: set[str] = set()
        self._homes: dict[str, set[tuple[Severity, str]]] = {}
        self._waiting = dict.fromkeys(SEVERITIES, 0)

    def __len__(self) -> int:
        return sum(self._waiting.values())

    def waiting(self, lane: Severity) -> int:
        return self._waiting[lane]

    def add(self, item: T, lane: Severity, organization_id: str, user_id: str) -> None:
        """Behind everything that waits for this user in this lane."""
        queue = self._lanes[lane].setdefault(organization_id, _Queue())
        queue.by_user.setdefault(user_id, deque()).append(item)
        self._homes.setdefault(user_id, set()).add((lane, organization_id))
        self._waiting[lane] += 1
        if user_id not in self._busy:
            self._make_ready(lane, organization_id, user_id)

    def take(self) -> Turn[T] | None:
        """The next message, whose user is then busy; None when all that wait are busy."""
        for lane in SEVERITIES:
            rounds = self._rounds[lane]
            if not rounds:
                continue
            organization_id = next(iter(rounds))
            queue = self._lanes[lane][organization_id]
            user_id = next(iter(queue.ready))
            item = queue.by_user[user_id].popleft()
            self._waiting[lane] -= 1
            self._busy.add(user_id)
            self._forget_if_empty(lane, organization_id, user_id)
            for other_lane, other_organization in self._homes.get(user_id, ()):
                self._make_unready(other_lane, other_organization, user_id)
            self._make_unready(lane, organization_id, user_id)
            if organization_id in rounds:
                rounds.move_to_end(organization_id)
            return Turn(item, lane, organization_id, user_id)
        return None

    def done(self, user_id: str) -> None:
        """The user's message is settled: the next one may have its turn."""
        self._busy.discard(user_id)
        for lane, organization_id in self._homes.get(user_id, ()):
            self._make_ready(lane, organization_id, user_id)

    def drain(self) -> Iterator[T]:
        """Empty it, in no order: what was not tried is left to the next owner."""
        for lane in SEVERITIES:
            for queue in self._lanes[lane].values():
                for items in queue.by_user.values():
                    yield from items
        self.__init__()  # type: ignore[misc]

    def _make_ready(self, lane: Severity, organization_id: str, user_id: str) -> None:
        self._lanes[lane][organization_id].ready.setdefault(user_id)
        self._rounds[lane].setdefault(organization_id)

    def _make_unready(self, lane: Severity, organization_id: str, user_id: str) -> None:
        queue = self._lanes[lane].get(organization_id)
        if queue is not None:
            queue.ready.pop(user_id, None)
        if queue is None or not queue.ready:
            self._rounds[lane].pop(organization_id, None)

    def _forget_if_empty(self, lane: Severity, organization_id: str, user_id: str) -> None:
        queue = self._lanes[lane][organization_id]
        if queue.by_user[user_id]:
            return
        del queue.by_user[user_id]
        queue.ready.pop(user_id, None)
        homes = self._homes[user_id]
        homes.discard((lane, organization_id))
        if not homes:
            del self._homes[user_id]
        if not queue.by_user:
            del self._lanes[lane][organization_id]


class HourlyCap(msgspec.Struct, frozen=True, array_like=True):
    """An organization's own limit of SMS in any hour: the times of those that left within the last one, oldest first.

    The cap is shared by partition like the other limits, so several workers keep it together.
    """

    left_at_ms: tuple[int, ...] = ()

    def free_at_ms(self, cap: int, now_ms: int) -> int:
        """When the organization's next SMS may leave: `now_ms`, or later while the cap is reached.

        `cap` must be at least 1: an organization without SMS has no contacts with phones instead.
        """
        if cap < 1:
            raise ValueError(f"a cap of {cap} SMS an hour would hold back every alert: use 1 or more, or no cap")
        recent = self._recent(now_ms)
        return now_ms if len(recent) < cap else recent[-cap] + HOUR_MS

    def left(self, now_ms: int) -> HourlyCap:
        """One more SMS left at `now_ms`."""
        return HourlyCap((*self._recent(now_ms), now_ms))

    def is_over(self, now_ms: int) -> bool:
        """Whether the record says nothing beyond what a new one says."""
        return not self._recent(now_ms)

    def _recent(self, now_ms: int) -> tuple[int, ...]:
        return tuple(at_ms for at_ms in self.left_at_ms if at_ms > now_ms - HOUR_MS)
