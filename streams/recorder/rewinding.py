"""If SQL has less than the group committed, SQL counts: the database was restored, or is a new one."""

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
    """Reads a partition again from the offset that SQL expects next."""

    def __init__(self, app: faust.App, topic_name: Callable[[str], str]) -> None:
        self._app = app
        self._topic_name = topic_name
        self._tried: set[tuple[TP, int]] = set()

    async def __call__(self, topic: str, partition: int, next_offset: int, before: int) -> bool:
        """Read again the records from `next_offset` to `before`; returns whether the broker has any.

        `topic` is the declared name. An offset is tried once: if it comes up again, the records do not exist.
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
        if not member.seek(tp, target):  # the partition went meanwhile: its next owner tries
            self._tried.discard((tp, next_offset))
            return False
        log.warning("recorder.rewound", topic=topic, partition=partition, to=target, before=before)
        return True
