"""Compacted configuration topics, held in memory by every worker that needs them.

A Faust `GlobalTable` on a topic that Faust did not name hangs the group's assignment. Ours reads its
topic from the start, is complete before the worker's own consumer starts, and then follows the topic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from faust.app.base import BootStrategy

from streams.engine.alarms import raise_alarm
from streams.engine.topic_tailer import TopicTailer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import faust

    from broker.settings import KafkaSettings
    from schemas.topic import AnyTopic
    from streams.engine.consumer import Record

T = TypeVar("T", bound=msgspec.Struct)


class GlobalTable(TopicTailer, Generic[T]):
    """The newest version of every entry of one compacted topic: `get(id)`, `values()`.

    `version` changes whenever an entry does. A record that cannot be decoded is logged and counted in `refused`; the
    entry keeps its former version, so that one bad configuration does not silence a unit. `share` may let an entry that
    was just decoded hold parts in common with others, to save memory.
    """

    def __init__(
        self,
        topic: AnyTopic,
        message_type: type[T],
        settings: KafkaSettings,
        *,
        share: Callable[[T], None] | None = None,
        **service: Any,  # noqa: ANN401 - Faust ships no types
    ) -> None:
        super().__init__([settings.topic(topic.name)], settings, **service)
        self.topic = topic
        self.version = 0
        self.refused = 0
        self._decode = msgspec.json.Decoder(message_type).decode
        self._share = share
        self._entries: dict[str, T] = {}

    def get(self, entry_id: str) -> T | None:
        return self._entries.get(entry_id)

    def values(self) -> Iterable[T]:
        return self._entries.values()

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, record: Record) -> None:
        self.apply(record.key, record.value)

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Take one record in: a value replaces the entry of that key, a tombstone deletes it."""
        if key is None:
            self._refuse(None, "the record has no key")
            return
        entry_id = key.decode(errors="replace")
        if value is None:
            if self._entries.pop(entry_id, None) is not None:
                self.version += 1
            return
        try:
            entry = self._decode(value)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            self._refuse(entry_id, str(error))
            return
        if self._share is not None:
            self._share(entry)
        self._entries[entry_id] = entry
        self.version += 1

    def _refuse(self, entry_id: str | None, why: str) -> None:
        self.refused += 1
        kept = entry_id in self._entries
        raise_alarm("reference.refused", topic=self.topic.name, key=(entry_id or "")[:200], why=why, kept=kept)


def load_before_work(app: faust.App, tailers: Sequence[TopicTailer]) -> None:
    """Start `tailers` before anything else of the app, so that the first record already finds them complete."""

    class TailersFirst(BootStrategy):  # type: ignore[misc]
        def sensors(self) -> Iterable[Any]:
            return [*tailers, *super().sensors()]

    app.boot_strategy = TailersFirst(app)
