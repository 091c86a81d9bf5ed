"""The fake group coordinator: generations, eager rebalances, committed offsets that an old generation cannot change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiokafka.errors import CommitFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.simulation.broker import Broker

LOOK_S = 0.5

TopicPartition = tuple[str, int]


class UnknownMember(Exception):  # noqa: N818 - the protocol's name
    """The group went on without this member; it must join again."""


class Group:
    """Members are names. A rebalance waits for all members until its time limit, then goes on without the others."""

    def __init__(self, broker: Broker, topics: list[str], *, session_s: float, rebalance_s: float) -> None:
        self.broker = broker
        self.topics = topics
        self.session_s = session_s
        self.rebalance_s = rebalance_s
        self.generation = 0
        self.committed: dict[TopicPartition, int] = {}
        # Told of every commit that was accepted.
        self.on_commit: Callable[[TopicPartition, int], None] | None = None
        self.assignment: dict[str, tuple[int, ...]] = {}
        self.assigned_at = 0.0
        self._heard: dict[str, float] = {}
        self._joined: dict[str, Any] = {}
        self._rebalancing = False

    def heartbeat(self, member: str) -> bool:
        """True while the group is stable; false asks the member to join again."""
        if member not in self._heard:
            raise UnknownMember(member)
        self._heard[member] = self.broker.loop.time()
        return not self._rebalancing

    def join(self, member: str) -> Any:
        """A future of (generation, partition numbers), settled when the rebalance is over."""
        future = self._joined.get(member)
        if future is None or future.done():
            future = self._joined[member] = self.broker.loop.create_future()
        self._heard[member] = self.broker.loop.time()
        self.rebalance(f"{member} joined")
        return future

    def leave(self, member: str) -> None:
        self._heard.pop(member, None)
        self._joined.pop(member, None)
        self.rebalance(f"{member} left")

    def rebalance(self, why: str) -> None:
        """Ask all members to join again."""
        if self._rebalancing:
            self._go_on()
            return
        self._rebalancing = True
        self.broker.loop.note(f"group rebalances: {why}")
        generation = self.generation
        self.broker.later(self.rebalance_s, lambda: self._go_on(late=True) if generation == self.generation else None)
        self._go_on()

    def watch(self) -> None:
        """Drop members that were not heard of; called all the time."""
        now = self.broker.loop.time()
        for member in sorted(self._heard):
            # A member that leaves may end a rebalance, and then all others have just been heard of.
            heard = self._heard.get(member, now)
            waits = (future := self._joined.get(member)) is not None and not future.done()
            if now - heard > self.session_s and not waits:
                self.leave(member)
        self.broker.later(LOOK_S, self.watch)

    def commit(self, member: str, generation: int, offsets: Mapping[TopicPartition, int]) -> None:
        if member not in self._heard or generation != self.generation:
            raise CommitFailedError
        for (topic, number), offset in sorted(offsets.items()):
            partition = topic, number
            self.committed[partition] = offset
            if self.on_commit is not None:
                self.on_commit(partition, offset)
            self.broker.loop.note(f"commit {partition[0]}[{partition[1]}] {offset} by {member}")

    def _go_on(self, *, late: bool = False) -> None:
        waiting = {member for member, future in self._joined.items() if not future.done()}
        if not self._rebalancing or not waiting or (not late and waiting != self._heard.keys()):
            return
        for member in self._heard.keys() - waiting:
            del self._heard[member]
        self._rebalancing = False
        self.generation += 1
        self.assigned_at = self.broker.loop.time()
        self.assignment = self._assign(sorted(waiting))
        self.broker.loop.note(f"group generation {self.generation}: {self.assignment}")
        for member in sorted(waiting):
            self._heard[member] = self.broker.loop.time()
            self._joined[member].set_result((self.generation, self.assignment[member]))

    def _assign(self, members: list[str]) -> dict[str, tuple[int, ...]]:
        """Partition numbers to members, turned at random: so partitions move at every rebalance."""
        numbers = range(len(self.broker.topics[self.topics[0]]))
        turn = self.broker.rng.randrange(len(members))
        return {
            member: tuple(number for number in numbers if (number + turn) % len(members) == index)
            for index, member in enumerate(members)
        }
