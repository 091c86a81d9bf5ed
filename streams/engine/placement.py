"""Where reading of a partition begins: the one place that decides it. No client has a reset policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faust.types import TP

    from streams.engine.broker_client import Offsets


class TopicTruncatedError(RuntimeError):
    """A topic ends before what is known of it: it was created again, or lost its end. The message says what to do."""


def start_of(tp: TP, found: Offsets) -> int:
    """The committed offset, else the earliest. Where retention removed committed records, the first that is left."""
    if found.committed is None:
        return found.first
    if found.committed > found.end:
        raise TopicTruncatedError(
            f"{tp.topic}[{tp.partition}] ends at offset {found.end}, but {found.committed} is committed: the topic was"
            " created again or lost its end. Its new records would be taken for known ones. Reset the group's offsets"
            " and delete the changelogs and data folders of its tables, or give the app another name."
        )
    return max(found.committed, found.first)


def lost_to_retention(found: Offsets) -> int:
    """How many offsets the broker removed before they were read."""
    return 0 if found.committed is None else max(0, found.first - found.committed)


def restore_from(tp: TP, stored: int | None, found: Offsets) -> int:
    """Where a changelog is read from, given the offset of the newest record that the local store contains."""
    if stored is None:
        return found.first
    if stored >= found.end:
        raise TopicTruncatedError(
            f"changelog {tp.topic}[{tp.partition}] ends at offset {found.end}, but this worker's data folder contains"
            f" its record {stored}: the changelog was created again or lost its end. Delete the data folder; if the"
            " changelog is empty, reset the group's offsets too, so that the tables are built from the source again."
        )
    return max(stored + 1, found.first)
