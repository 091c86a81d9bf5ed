"""What the records of a batch say; those that say nothing usable become dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import msgspec

from streams.engine.unreadable import dead_letter

if TYPE_CHECKING:
    from schemas.topic import AnyTopic, Topic
    from streams.engine.consumer import Batch, Record
    from streams.engine.publish import Outgoing

T = TypeVar("T")


class Decoded(NamedTuple, Generic[T]):
    """Messages with the records that brought them, in the batch's order; and letters for the other records."""

    messages: list[tuple[Record, T]]
    dead: list[Outgoing]


def decoded(batch: Batch, topic: Topic[T], dead_letters: AnyTopic, now_ms: int) -> Decoded[T]:
    """Decode the records of `batch`, which is of `topic`. Publish `dead` before the batch is finished."""
    found: Decoded[T] = Decoded([], [])
    for record in batch.records:
        try:
            found.messages.append((record, topic.decode(record.value)))
        except msgspec.MsgspecError as error:
            found.dead.append(dead_letter(record, dead_letters, str(error), now_ms))
    return found
