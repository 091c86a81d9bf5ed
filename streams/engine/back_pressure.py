"""How many batches each topic may have under way. Pure.

All topics of an app share one fetcher, and one full queue would stop them all. So a topic that has enough under way
gets no more until its flow has finished some: its fetched records are kept, its partitions are not fetched, and the
other topics go on.
"""

from __future__ import annotations

from collections import Counter


class Room:
    """Counts, for each topic, batches that were handed over and are not finished."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._under_way: Counter[str] = Counter()

    def has_room(self, topic: str) -> bool:
        return self._under_way[topic] < self._limit

    def took(self, topic: str) -> None:
        self._under_way[topic] += 1

    def freed(self, topic: str) -> bool:
        """A batch is finished or void. True when the topic was full, and has room now."""
        was_full = not self.has_room(topic)
        self._under_way[topic] -= 1
        return was_full and self.has_room(topic)

    def clear(self) -> None:
        self._under_way.clear()

    def under_way(self) -> dict[str, int]:
        """Batches by topic, for metrics."""
        return {topic: count for topic, count in self._under_way.items() if count}
