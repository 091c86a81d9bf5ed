from __future__ import annotations

import pytest
from faust.types import TP

from streams.engine.broker_client import Offsets
from streams.engine.placement import TopicTruncatedError, lost_to_retention, restore_from, start_of

P = TP("readings", 3)


@pytest.mark.parametrize(
    ("found", "start", "lost"),
    [
        (Offsets(committed=None, first=5, end=9), 5, 0),
        (Offsets(committed=7, first=5, end=9), 7, 0),
        (Offsets(committed=9, first=5, end=9), 9, 0),
        (Offsets(committed=0, first=5, end=9), 5, 5),
    ],
)
def test_reading_begins_at_the_committed_offset_else_at_the_earliest(found: Offsets, start: int, lost: int) -> None:
    assert (start_of(P, found), lost_to_retention(found)) == (start, lost)


def test_a_topic_that_ends_before_what_is_committed_is_refused_with_the_way_out() -> None:
    with pytest.raises(TopicTruncatedError, match=r"readings\[3\] ends at offset 9, but 10 is committed.*Reset the"):
        start_of(P, Offsets(committed=10, first=0, end=9))


def test_a_changelog_is_read_behind_what_the_store_contains() -> None:
    found = Offsets(committed=None, first=5, end=9)
    assert [restore_from(P, stored, found) for stored in (None, 2, 6, 8)] == [5, 5, 7, 9]


def test_a_store_that_knows_more_than_its_changelog_is_refused() -> None:
    with pytest.raises(TopicTruncatedError, match="Delete the data folder"):
        restore_from(P, 9, Offsets(committed=None, first=5, end=9))
