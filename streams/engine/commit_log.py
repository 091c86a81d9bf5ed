"""What of one partition was handed to a flow, what of that is finished, and up to where it may be committed. Pure.

A batch covers a span of offsets, from its first record to its last, with the gaps between them. Spans are handed over
in order and may be finished in any order; the offset moves over finished spans only, from the oldest on.
"""

from __future__ import annotations

from collections import deque


class Span:
    """The offsets `first`..`last` of a batch in hand. It is the token with which the batch is finished."""

    __slots__ = ("begun", "finished", "first", "last")

    def __init__(self, first: int, last: int) -> None:
        self.first = first
        self.last = last
        self.begun = False
        self.finished = False


class CommitLog:
    """The book of one partition. Without a place nothing may be handed over."""

    __slots__ = ("_committed", "_done", "_spans", "next_offset")

    def __init__(self) -> None:
        self.next_offset: int | None = None
        self._spans: deque[Span] = deque()
        self._done: int | None = None
        self._committed: int | None = None

    @property
    def unfinished_from(self) -> int | None:
        """Everything before this offset is finished; null without a place."""
        return self._spans[0].first if self._spans else self.next_offset

    def place(self, offset: int, committed: int | None) -> None:
        """Records are read from `offset` on; what was in hand counts no more. `committed`: what the group knows."""
        self.void()
        self.next_offset = offset
        self._committed = committed

    def void(self) -> None:
        """The partition went: nothing in hand counts any more, and nothing may be handed over."""
        self._spans.clear()
        self._done = None
        self.next_offset = None

    def hand_over(self, first: int, last: int) -> Span:
        if self.next_offset is None or not self.next_offset <= first <= last:
            raise ValueError(f"span {first}..{last} cannot follow: the next offset is {self.next_offset}")
        span = Span(first, last)
        self._spans.append(span)
        self.next_offset = last + 1
        return span

    def give_back(self, span: Span) -> list[Span]:
        """`span` was not taken, or not finished: it and what was handed over after it are read again.

        Returns the spans that are void by this, the given one first; none when it was void already.
        """
        if span not in self._spans or span.finished:
            return []
        void: list[Span] = []
        while not void or void[0] is not span:
            void.insert(0, self._spans.pop())
        self.next_offset = span.first
        return void

    def finish(self, span: Span) -> bool:
        """The flow is done with the span. False when it is void: then this changes nothing."""
        if span.finished or span not in self._spans:
            return False
        span.finished = True
        while self._spans and self._spans[0].finished:
            self._done = self._spans.popleft().last + 1
        return True

    def committable(self) -> int | None:
        """The offset to commit, if it is beyond what was committed: that of the first record that is not finished."""
        if self._done is None or (self._committed is not None and self._done <= self._committed):
            return None
        return self._done

    def committed(self, offset: int) -> None:
        """The group has `offset` now."""
        self._committed = offset if self._committed is None else max(self._committed, offset)
