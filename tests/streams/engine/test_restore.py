from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine import alarms
from streams.engine.applied_offset import applied_offset_of as real_applied_offset_of
from streams.engine.applied_offset import newest_by_applied_offset
from tests.streams.engine.engine_fakes import Rec


def applied_offset_of(raw: bytes) -> int:
    return int(raw.split(b":")[0])


def changelog(*values: bytes | None) -> list[Rec]:
    return [Rec(offset, key=b"unit-1", value=value) for offset, value in enumerate(values)]


def restored(records: list[Rec], stored: bytes | None = None) -> bytes | None:
    return newest_by_applied_offset(records, applied_offset_of, lambda _: stored)[b"unit-1"]


def test_a_late_value_of_a_frozen_worker_does_not_hide_its_successors() -> None:
    assert restored(changelog(b"1:old", b"7:new", b"2:late")) == b"7:new"


def test_of_two_values_with_the_same_applied_offset_the_later_one_counts() -> None:
    assert restored(changelog(b"3:a", b"3:b")) == b"3:b"


def test_the_value_on_disk_stays_when_its_applied_offset_is_higher() -> None:
    assert restored(changelog(b"3:changelog"), stored=b"9:disk") == b"9:disk"


def test_a_deletion_ends_what_lies_before_it() -> None:
    assert restored(changelog(b"9:high", None)) is None
    assert restored(changelog(None), stored=b"9:disk") is None
    assert restored(changelog(b"9:high", None, b"1:again")) == b"1:again"


def test_without_applied_offsets_the_newest_counts() -> None:
    assert newest_by_applied_offset(changelog(b"9:high", b"1:low"), None, lambda _: b"5:disk") == {b"unit-1": b"1:low"}


@pytest.mark.parametrize(
    ("values", "kept"),
    [((True, False), True), ((False, True), True), ((False, True, False), True), ((False, False), False)],
)
def test_a_value_that_says_no_applied_offset_ends_no_owner_and_loses_to_one_that_does(
    values: tuple[bool, ...], kept: bool
) -> None:
    good, bad = msgspec.msgpack.encode([7, "state"]), b"\xc1"
    records = changelog(*(good if value else bad for value in values))
    before = alarms.raised["table.row_unreadable"]
    found = newest_by_applied_offset(records, real_applied_offset_of, lambda _: None)
    assert found == {b"unit-1": good if kept else bad}
    assert alarms.raised["table.row_unreadable"] > before


@given(
    offsets=st.lists(st.none() | st.integers(0, 20), min_size=1, max_size=40),
    cuts=st.sets(st.integers(1, 39)),
)
def test_it_does_not_matter_how_the_changelog_is_cut_into_runs(offsets: list[int | None], cuts: set[int]) -> None:
    records = changelog(*[None if offset is None else b"%d:%d" % (offset, n) for n, offset in enumerate(offsets)])
    store: dict[bytes, bytes | None] = {}
    borders = sorted({0, len(records)} | {cut for cut in cuts if cut < len(records)})
    for begin, end in itertools.pairwise(borders):
        store |= newest_by_applied_offset(records[begin:end], applied_offset_of, store.get)
    assert store == newest_by_applied_offset(records, applied_offset_of, lambda _: None)
