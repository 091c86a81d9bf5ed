"""Placed before read, and nothing skipped: against a broker that answers late, twice and with gaps."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from streams.engine.partition import SourcePartition


class Rec(NamedTuple):
    offset: int
    topic: str = "readings"
    partition: int = 0
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def run(*offsets: int) -> list[Rec]:
    return [Rec(offset) for offset in offsets]


def placed(offset: int = 10) -> SourcePartition:
    partition = SourcePartition()
    partition.place(offset, offset)
    return partition


def test_nothing_is_admitted_before_the_partition_is_placed() -> None:
    assert SourcePartition().admit(run(1, 2)) == ()


def test_records_that_were_delivered_already_are_left_out() -> None:
    assert list(placed().admit(run(8, 9, 10, 11))) == run(10, 11)
    assert list(placed().admit(run(8, 9))) == []


def test_a_gap_right_after_a_seek_is_read_again_and_believed_the_second_time() -> None:
    partition = placed()
    assert partition.admit(run(12, 13)) == ()
    assert partition.must_seek
    partition.sought()
    assert list(partition.admit(run(12, 13))) == run(12, 13)
    assert partition.gap_offsets == 2


def test_another_gap_than_the_first_is_not_believed_either() -> None:
    partition = placed()
    partition.admit(run(15))
    partition.sought()
    assert partition.admit(run(12, 13)) == ()
    assert partition.must_seek


def test_a_gap_in_the_midst_is_believed_at_once() -> None:
    partition = placed()
    partition.log.finish(partition.hand_over(partition.admit(run(10, 11))))
    assert list(partition.admit(run(13, 14))) == run(13, 14)


def test_a_batch_that_was_given_back_is_read_again_with_all_after_it() -> None:
    partition = placed()
    first, second = partition.hand_over(run(10, 11)), partition.hand_over(run(12, 13))
    assert partition.give_back(first) == [first, second]
    assert partition.must_seek
    assert partition.log.next_offset == 10


@given(
    script=st.lists(st.tuples(st.sampled_from(["fetch", "fail", "stale"]), st.integers(1, 6)), max_size=40),
    missing=st.sets(st.integers(0, 60)),
)
def test_every_record_is_finished_exactly_once_whatever_happens(
    script: list[tuple[str, int]], missing: set[int]
) -> None:
    """`fail`: a hand-over that is not taken; `stale`: a fetch from a position that is not ours any more."""
    topic = [offset for offset in range(60) if offset not in missing]
    partition = placed(0)
    position, delivered = 0, []
    for what, count in [*script, *[("fetch", 60)] * 4]:
        if partition.must_seek:
            assert partition.log.next_offset is not None
            position = partition.log.next_offset
            partition.sought()
        fetched = run(*[offset for offset in topic if offset >= position][:count])
        if what == "stale":
            # The consumer drops these by their epoch; here the position moves on without a delivery.
            partition.must_seek = True
            continue
        if not fetched:
            continue
        position = fetched[-1].offset + 1
        records = partition.admit(fetched)
        if partition.must_seek or not records:
            continue
        span = partition.hand_over(records)
        if what == "fail":
            partition.give_back(span)
            continue
        partition.log.finish(span)
        delivered += [record.offset for record in records]
    assert delivered == topic
