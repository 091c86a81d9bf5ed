"""Where SQL knows less than the group has committed, its place counts: the database was restored, or is a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError
from faust.types import TP

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import faust

log = structlog.get_logger(__name__)


class Rewind:
    """Reads a partition again from the offset that SQL wants next."""

    def __init__(self, app: faust.App, topic_name: Callable[[str], str]) -> None:
        self._app = app
        self._topic_name = topic_name
        self._tried: set[tuple[TP, int]] = set()

    async def __call__(self, topic: str, partition: int, next_offset: int, before: int) -> bool:
        """Whether the broker has records from `next_offset` on that lie before `before`; they are read again then.

        `topic` is its declared name. What was tried once and led to the same place is not there.
        """
        tp = TP(self._topic_name(topic), partition)
        if (tp, next_offset) in self._tried:
            return False

        async def ask(consumer: Any) -> Mapping[TopicPartition, int]:  # noqa: ANN401 - aiokafka ships no types
            found: Mapping[TopicPartition, int] = await consumer.beginning_offsets([TopicPartition(*tp)])
            return found

        first = (await self._app.consumer._thread.run(ask))[TopicPartition(*tp)]  # noqa: SLF001 - it lives in that thread
        self._tried.add((tp, next_offset))
        target = max(first, next_offset)
        if target >= before:
            return False
        try:
            await self._app.consumer.seek(tp, target)
        except IllegalStateError:  # it went meanwhile: its next owner looks again
            self._tried.discard((tp, next_offset))
            return False
        log.warning("recorder.rewound", topic=topic, partition=partition, to=target, before=before)
        return True
