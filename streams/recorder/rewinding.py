"""Where SQL knows less than the group has committed, its place counts: the database was restored, or is a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from faust.types import TP

if TYPE_CHECKING:
    from collections.abc import Callable

    import faust

    from streams.engine.group_member import GroupMember

log = structlog.get_logger(__name__)

ANSWER_WITHIN_S = 10.0


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
        member: GroupMember = self._app.consumer.member
        found = await member.client.offsets([tp], limit_s=ANSWER_WITHIN_S)
        self._tried.add((tp, next_offset))
        target = max(found[tp].first, next_offset)
        if target >= before:
            return False
        if not member.seek(tp, target):  # it went meanwhile: its next owner looks again
            self._tried.discard((tp, next_offset))
            return False
        log.warning("recorder.rewound", topic=topic, partition=partition, to=target, before=before)
        return True
