"""How a durable timer lies in its table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from schemas.topics import TOPICS
from streams.engine.publish import Outgoing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.topic import AnyTopic


class TimerRow(msgspec.Struct, frozen=True, array_like=True):
    """`version` comes first, as in each of our tables: of two rows, recovery keeps the higher one.

    `topic` is the plain name of a declared topic. Rows of earlier releases hold the name at the broker.
    """

    version: int
    due_at_ms: int
    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(TimerRow).decode


class UnknownTopicError(Exception):
    """A row names a topic that this release does not declare: it was set by another one. The row stays."""


class Declared:
    """Finds the declaration that a row names."""

    def __init__(self, topics: Iterable[AnyTopic] = TOPICS) -> None:
        self._topics = {topic.name: topic for topic in topics}

    def outgoing(self, row: TimerRow) -> Outgoing:
        """What the timer publishes. Raises UnknownTopicError."""
        return Outgoing(self._topic(row.topic), row.key, row.value, row.headers)

    def _topic(self, name: str) -> AnyTopic:
        if name not in self._topics:
            # Ends with the plain name, after the deployment's prefix. No declared name ends with another one.
            known = next((topic for plain, topic in self._topics.items() if name.endswith(plain)), None)
            if known is None:
                raise UnknownTopicError(
                    f"this release declares no topic {name!r}; the timer is kept, and fires under a release"
                    " whose schemas/topics.py declares it"
                )
            self._topics[name] = known
        return self._topics[name]
