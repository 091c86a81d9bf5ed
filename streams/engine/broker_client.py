"""What the engine asks of Kafka: one member of one consumer group, its partitions, their records and offsets.

`kafka_client.py` implements it over aiokafka, in a thread of its own; a simulation implements it over a broker in
memory. The engine calls it from one event loop, and changes positions from one task: while `seek` or `fetch` runs,
it calls neither of the two again.

**The group speaks first.** Whoever owns the client calls the engine's `revoked()` before partitions go and awaits it,
then its `assigned(partitions)` with *all* partitions that are ours from now on. Rebalances are eager: everything is
revoked before anything is assigned. After a takeover that this member did not hear of (it was frozen, or cut off) the
group calls `revoked()` too, only too late; `last_contact` tells the engine so earlier.

**Every call ends.** A call that the broker does not answer within `limit_s` raises `TimeoutError`; it has no effect
after that, except for a commit, which may still arrive. Calls about a partition that is not assigned any more raise
`aiokafka.errors.IllegalStateError`. All else that the broker refuses is a subclass of `aiokafka.errors.KafkaError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from faust.types import TP

    from streams.engine.consumer import Record


class Fetched(NamedTuple):
    """What a partition holds from `position` up to, and without, `next_position`.

    Both are positions of the client: `position` was the one before the fetch, `next_position` is the one after it.
    Offsets between them without a record are those that compaction removed, of transaction markers, or of records that
    a producer took back. `records` is in order, and may be empty where there are only such offsets.
    """

    position: int
    next_position: int
    records: Sequence[Record]


class Offsets(NamedTuple):
    """Where a partition begins and ends at the broker (`end`: the offset of the next record that is written).

    `committed` is what the group has; None if it has nothing, also because the topic was deleted and created again,
    or because the group had no members for longer than the broker keeps offsets.
    """

    committed: int | None
    first: int
    end: int


class BrokerClient(Protocol):
    """One member of a consumer group."""

    @property
    def last_contact(self) -> float:
        """When the last heartbeat that the group answered was *sent*; seconds on the clock `time.monotonic`."""

    def assignment(self) -> frozenset[TP]:
        """The partitions that are ours, changelogs among them."""

    async def offsets(self, partitions: Collection[TP], *, limit_s: float) -> Mapping[TP, Offsets]:
        """What the broker knows of the partitions. Moves nothing."""

    async def seek(self, positions: Mapping[TP, int], *, limit_s: float) -> None:
        """Read the partitions from these positions on. A fetch that is still under way ends first, and brings nothing.

        A partition is not fetched before it was sought: there is no reset policy.
        """

    async def fetch(self, partitions: Collection[TP], *, max_records: int, wait_s: float) -> Mapping[TP, Fetched]:
        """What there is of the partitions, and the positions move behind it.

        Returns as soon as one of them has something, with those that have; empty after `wait_s`, and after
        `interrupt_fetch`. Partitions that are not asked for keep their positions. Raises
        `aiokafka.errors.OffsetOutOfRangeError`, whose first argument maps partitions to positions, where the broker
        does not have a position (retention removed it, or the topic lost its end); no position has moved then.
        """

    def interrupt_fetch(self) -> None:
        """Let a fetch that waits for records return now."""

    async def commit(self, offsets: Mapping[TP, int], *, limit_s: float) -> bool:
        """Commit in the present generation. False if the group has rebalanced meanwhile: then nothing is committed."""

    def abandon_commit(self) -> None:
        """End a commit that is under way: it must not be repeated in a later generation."""

    async def keep_alive(self) -> None:
        """Tell the group that the flows live, though nothing is fetched now."""
