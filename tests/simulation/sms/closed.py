"""Which alerts are closed, as a worker reads it from the fake broker; what follows from a record is the real code."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from schemas.topics import ALERT_COMMANDS, ALERTS
from streams.notifications.closed_alerts import ClosedAlerts

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.settings import KafkaSettings
    from tests.simulation.broker import Broker

FOLLOW_S = 1.0


class SimClosed(ClosedAlerts):
    """Two questions to the broker instead of a consumer: how far the topics reach, and what there is up to there."""

    def __init__(self, broker: Broker, now_ms: Callable[[], int], lapse_ms: int) -> None:
        super().__init__(cast("KafkaSettings", SimpleNamespace(topic=str)), now_ms, lapse_ms)
        self._broker = broker
        self._read: dict[tuple[str, int], int] = {}

    async def up_to_date(self, limit_s: float = 2.0) -> None:
        logs = [log for topic in (ALERTS.name, ALERT_COMMANDS.name) for log in self._broker.topics[topic]]
        async with asyncio.timeout(limit_s):
            ends = await self._broker.answer(lambda: {(log.topic, log.partition): log.end for log in logs})
            while any(self._read.get(place, 0) < end for place, end in ends.items()):
                # Behind the end that was asked for there may be more by now.
                found = await self._broker.answer(lambda: [list(log.history) for log in logs if log.has_leader])
                for records in found:
                    self._take_new(records)

    def _take_new(self, records: list[Any]) -> None:
        for record in records:
            place = record.topic, record.partition
            if record.offset >= self._read.get(place, 0):
                self._read[place] = record.offset + 1
                self.take(record)

    async def follow(self) -> None:
        """As the consumer that reads on by itself."""
        while True:
            try:
                await self.up_to_date()
            except TimeoutError:
                self._broker.loop.note("closed alerts could not be read")
            await asyncio.sleep(FOLLOW_S)
