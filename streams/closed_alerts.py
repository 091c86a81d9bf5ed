"""Which alerts need no reminder any more, as `alert-commands` and `alerts` say at this very moment.

The flows learn of an acknowledgement in the partition of its unit; a reminder leaves in the partition of its reader.
Neither waits for the other, so an acknowledgement could be at the broker and its reminder leave all the same. Every
notifications worker therefore follows both topics itself, and before a reminder leaves it asks the broker how far they
reach and reads that far. What was published before the question is known then, in whatever order the flows come.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiokafka
import msgspec
from aiokafka.errors import KafkaError

from schemas import messages as m
from schemas.topics import ALERT_COMMANDS, ALERTS
from streams.follower import Follower

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from streams.consumer import Record
    from streams.settings import KafkaSettings

DAY_MS = 86_400_000
REMEMBERED_MS = DAY_MS

_decode: msgspec.json.Decoder[m.AlertResolved | m.Command | m.AlertTriggered | m.AlertEscalated] = msgspec.json.Decoder(
    m.Alert | m.Command
)


class Closed(msgspec.Struct, frozen=True):
    """`until_ms` is None for good, else the end of a silence."""

    why: str
    at_ms: int
    until_ms: int | None = None


class ClosedAlerts(Follower):
    """`why_closed` is about what was read so far; after `up_to_date` that is all that was published before the call.

    What happened more than a day ago is forgotten: by then the escalation's own state has it.
    """

    def __init__(self, settings: KafkaSettings, now_ms: Callable[[], int], **service: Any) -> None:  # noqa: ANN401
        names = [settings.topic(topic.name) for topic in (ALERT_COMMANDS, ALERTS)]
        super().__init__(names, settings, since_ms=max(0, now_ms() - REMEMBERED_MS), **service)
        self._now_ms = now_ms
        # Oldest first, for forgetting.
        self._closed: dict[str, Closed] = {}
        self._asker: Any = None
        self._question: asyncio.Task[Mapping[aiokafka.TopicPartition, int]] | None = None

    def why_closed(self, alert_id: str, now_ms: int) -> str | None:
        """One of "acknowledged", "resolved", "silenced" (see `silenced_until_ms`); None: a reminder is wanted."""
        closed = self._closed.get(alert_id)
        if closed is None or (closed.until_ms is not None and closed.until_ms <= now_ms):
            return None
        return closed.why

    def silenced_until_ms(self, alert_id: str) -> int | None:
        """When the newest silence of an alert ends; None when there is none, or when it is closed for good."""
        closed = self._closed.get(alert_id)
        return None if closed is None else closed.until_ms

    async def up_to_date(self, limit_s: float = 2.0) -> None:
        """Returns when everything is known that was published before this call.

        Raises TimeoutError when the broker does not answer, or the topics were not read so far, within `limit_s`.
        """
        try:
            async with asyncio.timeout(limit_s):
                ends = await self._ends()
                async with self._progress:
                    await self._progress.wait_for(lambda: not self._behind(ends))
        except KafkaError as error:
            raise TimeoutError(f"the broker does not say how far {', '.join(self._names)} reach: {error!r}") from error

    async def _ends(self) -> Mapping[aiokafka.TopicPartition, int]:
        """How far the topics reach, asked after the call began. Many callers at once share a question."""
        if (under_way := self._question) is not None:
            # It may have been answered before this call began: wait for it, then ask anew (or join who did).
            await asyncio.wait([under_way])
        if self._question is under_way:
            self._question = asyncio.create_task(self._asker.end_offsets(list(self._read_to)))
            self._question.add_done_callback(_look_at)
        question = self._question
        assert question is not None
        return await asyncio.shield(question)

    async def _open(self) -> None:
        # A consumer of its own: behind a waiting fetch of the same connection an answer would take half a second.
        self._asker = aiokafka.AIOKafkaConsumer(
            **self._settings.aiokafka(), group_id=None, enable_auto_commit=False, request_timeout_ms=5_000
        )
        await self._asker.start()
        await super()._open()

    async def _close(self) -> None:
        await super()._close()
        if self._asker is not None:
            await self._asker.stop()

    def take(self, record: Record) -> None:
        try:
            message = _decode.decode(record.value or b"")
        except msgspec.MsgspecError:
            return  # the flow of that topic makes a dead letter of it
        match message:
            case m.Acknowledge(alert_id=alert_id):
                self._close_alert(alert_id, Closed("acknowledged", record.timestamp))
            case m.AlertResolved(alert_id=alert_id):
                self._close_alert(alert_id, Closed("resolved", record.timestamp))
            case m.Silence(alert_id=alert_id, until_at_ms=until_ms):
                self._close_alert(alert_id, Closed("silenced", record.timestamp, until_ms))
            case m.NotifyNow(alert_id=alert_id) if self.silenced_until_ms(alert_id) is not None:
                # The newer order counts.
                del self._closed[alert_id]

    def _close_alert(self, alert_id: str, closed: Closed) -> None:
        known = self._closed.get(alert_id)
        if known is not None and known.until_ms is None:
            return
        self._closed.pop(alert_id, None)
        self._closed[alert_id] = closed
        self._forget()

    def _forget(self) -> None:
        before_ms = self._now_ms() - REMEMBERED_MS
        while self._closed:
            oldest = next(iter(self._closed))
            if self._closed[oldest].at_ms >= before_ms:
                return
            del self._closed[oldest]

    def __len__(self) -> int:
        return len(self._closed)


def _look_at(question: asyncio.Task[Any]) -> None:
    """When everybody who asked gave up, nobody else takes its error."""
    if not question.cancelled():
        question.exception()
