"""The commit log against a plain model: a set of finished offsets."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streams.engine.commit_log import CommitLog, Span


class AnyOrder(RuleBasedStateMachine):
    """Hands over, finishes, gives back, seeks, revokes and commits in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.log = CommitLog()
        # The model: every span of this placement that was handed over, whether it is done, and what was committed.
        self.spans: list[Span] = []
        self.dead: list[Span] = []
        self.done: set[int] = set()
        self.committed: int | None = None
        self.start = 0
        self.placed = False

    @initialize(offset=st.integers(0, 100))
    def begin(self, offset: int) -> None:
        self.place(offset, known=True)

    @rule(offset=st.integers(0, 200), known=st.booleans())
    def place(self, offset: int, *, known: bool) -> None:
        """After an assignment, or a seek: what was in hand is dead."""
        self.committed = offset if known else None
        self.log.place(offset, self.committed)
        self.dead += self.spans
        self.spans, self.done, self.start, self.placed = [], set(), offset, True

    @rule()
    def revoke(self) -> None:
        self.log.void()
        self.dead += self.spans
        self.spans, self.done, self.placed = [], set(), False

    @precondition(lambda self: self.placed)
    @rule(gap=st.integers(0, 3), length=st.integers(1, 5))
    def hand_over(self, gap: int, length: int) -> None:
        assert self.log.next_offset is not None
        first = self.log.next_offset + gap
        self.spans.append(self.log.hand_over(first, first + length - 1))

    @precondition(lambda self: self.spans)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.spans) - 1))
        fresh = number not in self.done
        assert self.log.finish(self.spans[number]) is fresh
        self.done.add(number)

    @precondition(lambda self: self.dead)
    @rule(data=st.data())
    def a_late_acknowledgement_of_a_dead_span_changes_nothing(self, data: st.DataObject) -> None:
        span = data.draw(st.sampled_from(self.dead))
        before = self.log.committable(), self.log.next_offset
        assert not self.log.finish(span)
        assert self.log.give_back(span) == []
        assert (self.log.committable(), self.log.next_offset) == before

    @precondition(lambda self: self.spans)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.spans) - 1))
        void = self.log.give_back(self.spans[number])
        if number in self.done:
            assert void == []
            return
        assert void == self.spans[number:]
        assert self.log.next_offset == self.spans[number].first
        self.dead += void
        del self.spans[number:]
        self.done = {done for done in self.done if done < number}

    @rule()
    def commit(self) -> None:
        offset = self.log.committable()
        if offset is not None:
            self.log.committed(offset)
            self.committed = offset

    @invariant()
    def it_never_commits_beyond_unfinished_work_and_never_backwards(self) -> None:
        finished = 0
        while finished in self.done:
            finished += 1
        safe = self.spans[finished - 1].last + 1 if finished else None
        if safe is not None and self.committed is not None and safe <= self.committed:
            safe = None
        assert self.log.committable() == safe
        if safe is not None:
            unfinished = [span.first for number, span in enumerate(self.spans) if number not in self.done]
            assert all(safe <= first for first in unfinished)
            assert self.committed is None or safe > self.committed


TestAnyOrder = AnyOrder.TestCase


def test_nothing_is_handed_over_before_the_partition_is_placed() -> None:
    with pytest.raises(ValueError, match="the next offset is None"):
        CommitLog().hand_over(0, 1)


def test_a_span_cannot_begin_before_the_end_of_the_one_before_it() -> None:
    log = CommitLog()
    log.place(10, None)
    log.hand_over(10, 19)
    with pytest.raises(ValueError, match=r"span 19\.\.20 cannot follow"):
        log.hand_over(19, 20)


def test_finished_spans_behind_an_unfinished_one_wait() -> None:
    log = CommitLog()
    log.place(0, None)
    first, second = log.hand_over(0, 4), log.hand_over(5, 9)
    log.finish(second)
    assert log.committable() is None
    log.finish(first)
    assert log.committable() == 10


def test_what_a_cancelled_commit_did_not_write_is_committed_by_the_next() -> None:
    log = CommitLog()
    log.place(0, 0)
    log.finish(log.hand_over(0, 4))
    assert (log.committable(), log.committable()) == (5, 5)
    log.committed(5)
    assert log.committable() is None
