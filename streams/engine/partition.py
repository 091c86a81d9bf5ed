"""One source partition: where reading stands, what was fetched, and which offsets are assigned, completed, returned.

Pure. A batch covers a range of offsets, from the end of the batch before it to its own last record, so that a range
includes the offsets without a record before it. Ranges are assigned in order and completed in any order; `completed`
moves over completed ranges only, from the oldest on. That is the one offset that may be committed.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.engine.broker_client import Fetched
    from streams.engine.consumer import Record


class PositionError(RuntimeError):
    """The client returned records that do not begin where it was told to read: nothing it says can be relied on."""


class RangeState(Enum):
    ASSIGNED = auto()
    COMPLETED = auto()
    RETURNED = auto()


class OffsetRange:
    """The offsets from `first` up to, and without, `end` that a batch covers."""

    __slots__ = ("end", "first", "seen_at", "state")

    def __init__(self, first: int, end: int) -> None:
        self.first = first
        self.end = end
        # When the flow last asked about its batch, a sign of life.
        self.seen_at = 0.0
        self.state = RangeState.ASSIGNED

    @property
    def is_assigned(self) -> bool:
        """Whether the flow that has the batch may still act on it."""
        return self.state is RangeState.ASSIGNED


class Partition:
    """Begins at `completed`, and must be sought there before anything of it is delivered.

    `epoch` changes whenever something was returned: what a flow has cached of its tables may be ahead of them then.
    """

    __slots__ = (
        "_index",
        "_ranges",
        "_records",
        "assigned",
        "committed",
        "completed",
        "epoch",
        "in_hand",
        "must_seek",
        "position",
    )

    def __init__(self, completed: int, committed: int | None, epoch: int) -> None:
        self.completed = completed
        self.committed = completed if committed is None else committed
        self.epoch = epoch
        self.in_hand = 0
        self._ranges: deque[OffsetRange] = deque()
        self._read_from(completed)

    def _read_from(self, offset: int) -> None:
        # Where the client reads on, and the end of the last range that was assigned.
        self.position = self.assigned = offset
        self.must_seek = True
        self._records: Sequence[Record] = ()
        self._index = 0

    @property
    def has_records(self) -> bool:
        return self._index < len(self._records)

    @property
    def wants_records(self) -> bool:
        return not self.must_seek and not self.has_records

    @property
    def oldest(self) -> OffsetRange | None:
        """The range in hand that the others wait for."""
        return next((taken for taken in self._ranges if taken.is_assigned), None)

    @property
    def has_returned(self) -> bool:
        """Whether a flow gave up a batch that is read again only by the partition's next owner."""
        return any(taken.state is RangeState.RETURNED for taken in self._ranges)

    @property
    def rests(self) -> bool:
        """Whether everything that was fetched is completed."""
        return not self._ranges and not self.has_records

    def take(self, fetched: Fetched) -> bool:
        """Keep what was fetched. False if the position changed meanwhile: the records are read again then.

        At the current position the broker's word counts, also about offsets without a record.
        """
        if self.must_seek:
            return False
        records = fetched.records
        if (
            fetched.position != self.position
            or fetched.next_position <= fetched.position
            or (records and not fetched.position <= records[0].offset <= records[-1].offset < fetched.next_position)
        ):
            spread = f"{records[0].offset}..{records[-1].offset}" if records else "none"
            raise PositionError(
                f"reading stands at offset {self.position}; fetched were the records {spread} between the positions"
                f" {fetched.position} and {fetched.next_position}"
            )
        self._records, self._index = records, 0
        self.position = fetched.next_position
        return True

    def assign(self, most: int) -> tuple[OffsetRange, Sequence[Record]] | None:
        """The next records, `most` at a time, for a flow; None if there are none."""
        run = self._records[self._index : self._index + most]
        if not run:
            return None
        self._index += len(run)
        taken = OffsetRange(self.assigned, run[-1].offset + 1)
        self.assigned = taken.end
        self._ranges.append(taken)
        self.in_hand += 1
        return taken, run

    def complete(self, taken: OffsetRange) -> bool:
        """The flow has finished the batch. False, and no effect, if the range is not assigned any more."""
        if not taken.is_assigned:
            return False
        taken.state = RangeState.COMPLETED
        self.in_hand -= 1
        while self._ranges and self._ranges[0].state is RangeState.COMPLETED:
            self.completed = self._ranges.popleft().end
        return True

    def return_all(self, epoch: int) -> None:
        """What is in hand has no further effect and is read again from `completed` on."""
        for taken in self._ranges:
            taken.state = RangeState.RETURNED
        self._ranges.clear()
        self.in_hand = 0
        self.epoch = epoch
        self._read_from(self.completed)

    def return_one(self, taken: OffsetRange) -> None:
        """The flow gave the batch up. Nothing behind it is committed; the other batches in hand may be completed."""
        if taken.is_assigned:
            taken.state = RangeState.RETURNED
            self.in_hand -= 1

    def sought(self, offset: int) -> None:
        """The client reads from `offset` on; if it is to read from elsewhere by now, it must seek again."""
        if offset == self.position:
            self.must_seek = False

    def pass_over(self, offset: int) -> None:
        """The broker has nothing before `offset` any more: read on there. What is in hand stays."""
        self.position = offset
        self.must_seek = True

    def seek(self, offset: int, epoch: int) -> None:
        """Read from another offset on, and commit from there on, also where that is before the committed offset."""
        self.completed = self.committed = offset
        self.return_all(epoch)

    @property
    def committable(self) -> int | None:
        """The offset to commit, if it is beyond what is committed."""
        return self.completed if self.completed > self.committed else None
