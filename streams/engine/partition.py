"""One source partition as the consumer sees it: where it stands, and which fetched records may be delivered. Pure.

Two rules hold here. A partition is *placed before it is read*: after an assignment nothing is delivered until it was
sought, while no fetch was under way. And *nothing is skipped*: what was fetched and not handed over is fetched again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.engine.commit_log import CommitLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.engine.commit_log import Span
    from streams.engine.consumer import Record


class SourcePartition:
    """With `must_seek` the position at aiokafka is past what was handed over, and is set back before the next fetch."""

    __slots__ = ("_fresh", "_gap", "gap_offsets", "log", "must_seek")

    def __init__(self) -> None:
        self.log = CommitLog()
        self.must_seek = False
        self.gap_offsets = 0
        self._fresh = False
        self._gap: tuple[int, int] | None = None

    @property
    def placed(self) -> bool:
        return self.log.next_offset is not None

    def place(self, offset: int, committed: int | None) -> None:
        """It was sought to `offset`, with no fetch under way."""
        self.log.place(offset, committed)
        self.sought()
        self._gap = None

    def sought(self) -> None:
        """The position was set to the next offset again, with no fetch under way."""
        self.must_seek = False
        self._fresh = True

    def admit(self, records: Sequence[Record]) -> Sequence[Record]:
        """Those of a run of fetched records that come next; none when the run does not fit, then `must_seek` is set.

        Records that were delivered already are left out. A run that begins behind a gap just after a seek may be the
        answer to another question; it is believed when it comes twice (offsets without a record are those of
        transaction markers and of what compaction removed).
        """
        expected = self.log.next_offset
        if expected is None or not records:
            return ()
        if records[0].offset < expected:
            records = [record for record in records if record.offset >= expected]
            if not records:
                return ()
        first = records[0].offset
        if first > expected:
            if self._fresh and self._gap != (expected, first):
                self._gap = (expected, first)
                self.must_seek = True
                return ()
            self.gap_offsets += first - expected
        return records

    def hand_over(self, records: Sequence[Record]) -> Span:
        """The records go to the flow now."""
        span = self.log.hand_over(records[0].offset, records[-1].offset)
        self._fresh = False
        self._gap = None
        return span

    def give_back(self, span: Span) -> list[Span]:
        """The flow did not take the span, or did not finish it; it is read again. Returns what is void by that."""
        void = self.log.give_back(span)
        if void:
            self.must_seek = True
        return void
