"""A partition against a plain model: a set of completed offsets, and a broker with gaps."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streams.engine.broker_client import Fetched
from streams.engine.partition import OffsetRange, Partition, PositionError
from tests.streams.engine.engine_fakes import run


def sought(offset: int = 10, committed: int | None = 10) -> Partition:
    partition = Partition(offset, committed, epoch=1)
    partition.sought(offset)
    return partition


def fetched(*offsets: int, at: int) -> Fetched:
    return Fetched(at, offsets[-1] + 1, run(*offsets))


def test_nothing_is_taken_before_the_partition_is_sought() -> None:
    partition = Partition(10, 10, epoch=1)
    assert not partition.take(fetched(10, 11, at=10))
    assert partition.assign(5) is None


def test_a_gap_at_the_current_position_is_the_brokers_word() -> None:
    partition = sought()
    assert partition.take(fetched(12, 13, at=10))
    taken, records = partition.assign(5) or pytest.fail("nothing was assigned")
    assert [record.offset for record in records] == [12, 13]
    assert (taken.first, taken.end) == (10, 14)


@pytest.mark.parametrize(
    "answer", [fetched(12, 13, at=12), fetched(8, 9, 10, at=8), Fetched(10, 12, run(9, 11)), Fetched(10, 10, [])]
)
def test_records_of_another_position_are_an_error(answer: Fetched) -> None:
    with pytest.raises(PositionError, match="reading stands at offset 10"):
        sought().take(answer)


def test_offsets_without_records_move_the_position() -> None:
    partition = sought()
    assert partition.take(Fetched(10, 13, []))
    assert (partition.position, partition.completed, partition.rests) == (13, 10, True)


def test_what_was_fetched_before_a_batch_was_returned_is_not_delivered() -> None:
    partition = sought()
    partition.take(fetched(*range(10, 20), at=10))
    partition.assign(5)
    partition.return_all(2)
    assert partition.assign(5) is None
    assert not partition.take(fetched(20, 21, at=20))
    assert (partition.position, partition.must_seek, partition.epoch) == (10, True, 2)


def test_a_position_that_changed_while_it_was_sought_is_sought_again() -> None:
    partition = sought()
    partition.take(fetched(*range(10, 20), at=10))
    first = partition.assign(5)
    partition.return_all(2)
    partition.seek(3, 3)
    partition.sought(10)
    assert partition.must_seek
    assert first is not None
    assert not partition.complete(first[0])


def test_completed_ranges_behind_an_unfinished_one_wait() -> None:
    partition = sought()
    partition.take(fetched(*range(10, 20), at=10))
    first, second = partition.assign(5), partition.assign(5)
    assert first is not None
    assert second is not None
    partition.complete(second[0])
    assert partition.committable is None
    partition.complete(first[0])
    assert partition.committable == 20


def test_nothing_behind_a_batch_that_was_returned_alone_is_committed() -> None:
    partition = sought()
    partition.take(fetched(*range(10, 20), at=10))
    first, second = partition.assign(5), partition.assign(5)
    assert first is not None
    assert second is not None
    partition.return_one(first[0])
    partition.complete(second[0])
    assert (partition.committable, partition.in_hand) == (None, 0)


def test_after_a_seek_backwards_commits_follow_from_there() -> None:
    partition = sought(100, 100)
    partition.seek(10, 2)
    partition.sought(10)
    partition.take(fetched(10, at=10))
    taken = partition.assign(1)
    assert taken is not None
    partition.complete(taken[0])
    assert partition.committable == 11


class AnySchedule(RuleBasedStateMachine):
    """Fetches, assigns, completes, returns, seeks and commits in any order, of a topic with gaps."""

    END = 60
    GAPS = frozenset({0, 7, 8, 21, 40, 59})

    def __init__(self) -> None:
        super().__init__()
        self.partition = Partition(0, None, epoch=0)
        self.client = -1
        self.live: list[tuple[OffsetRange, list[int]]] = []
        self.void: list[OffsetRange] = []
        self.done: set[int] = set()
        self.epoch = 0

    @rule()
    def seek(self) -> None:
        if self.partition.must_seek:
            self.client = self.partition.position
            self.partition.sought(self.client)

    @precondition(lambda self: self.partition.wants_records and self.client < self.END)
    @rule(count=st.integers(1, 9))
    def fetch(self, count: int) -> None:
        end = min(self.END, self.client + count)
        records = run(*[offset for offset in range(self.client, end) if offset not in self.GAPS])
        assert self.partition.take(Fetched(self.client, end, records))
        self.client = end

    @rule(most=st.integers(1, 5))
    def assign(self, most: int) -> None:
        found = self.partition.assign(most)
        if found is not None:
            self.live.append((found[0], [record.offset for record in found[1]]))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        taken, offsets = self.live.pop(data.draw(st.integers(0, len(self.live) - 1)))
        assert self.partition.complete(taken)
        self.done.update(offsets)

    @rule()
    def return_all(self) -> None:
        self.epoch += 1
        self.partition.return_all(self.epoch)
        self.void += [taken for taken, _ in self.live]
        self.live.clear()

    @precondition(lambda self: self.void)
    @rule(data=st.data())
    def a_late_completion_of_a_returned_range_changes_nothing(self, data: st.DataObject) -> None:
        before = self.partition.completed, self.partition.in_hand
        assert not self.partition.complete(data.draw(st.sampled_from(self.void)))
        assert (self.partition.completed, self.partition.in_hand) == before

    @rule()
    def commit(self) -> None:
        if (offset := self.partition.committable) is not None:
            assert offset > self.partition.committed
            self.partition.committed = offset

    @invariant()
    def everything_before_the_completed_offset_is_done(self) -> None:
        records = set(range(self.partition.completed)) - self.GAPS
        assert records <= self.done
        assert self.partition.in_hand == len(self.live)

    def teardown(self) -> None:
        """Whatever happened, from here on everything is read and completed."""
        for taken, offsets in self.live:
            self.partition.complete(taken)
            self.done.update(offsets)
        self.live.clear()
        while self.partition.position < self.END or not self.partition.rests:
            self.seek()
            if self.partition.wants_records:
                records = run(*[offset for offset in range(self.client, self.END) if offset not in self.GAPS])
                self.partition.take(Fetched(self.client, self.END, records))
                self.client = self.END
            while (found := self.partition.assign(7)) is not None:
                self.partition.complete(found[0])
                self.done.update(record.offset for record in found[1])
        assert self.done == set(range(self.END)) - self.GAPS


TestAnySchedule = AnySchedule.TestCase
