"""Which alerts need no reminder any more, as `alert-commands` and `alerts` say at this very moment.

The flows learn of an acknowledgement in the partition of its unit; a reminder leaves in the partition of its reader.
Neither waits for the other, so an acknowledgement could be at the broker and its reminder leave all the same. Every
notifications worker therefore follows both topics itself, and before a reminder leaves it asks the broker how far they
reach and reads that far. What was published before the question is known then, in whatever order the flows come.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import aiokafka
import msgspec
from aiokafka.errors import KafkaError

from schemas import messages as m
from schemas.topic import DAY_MS
from schemas.topics import ALERT_COMMANDS, ALERTS
from streams.engine.topic_tailer import TopicTailer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.settings import KafkaSettings
    from streams.engine.consumer import Record

# People give few commands, and what a silence put off may come up weeks later.
COMMANDS_REMEMBERED_MS = ALERT_COMMANDS.retention_ms
ENDS_REMEMBERED_MS = DAY_MS

_decode: msgspec.json.Decoder[m.AlertResolved | m.Command | m.AlertTriggered | m.SeverityRaised] = msgspec.json.Decoder(
    m.Alert | m.Command
)


T = TypeVar("T")


class Closed(Protocol):
    """What a flow asks about alerts that need no reminder any more; see `ClosedAlerts`."""

    def why_closed(self, alert_id: str, severity: m.Severity, now_ms: int) -> str | None: ...
    def acknowledged_at_ms(self, alert_id: str) -> int | None: ...
    def silenced_until_ms(self, alert_id: str) -> int | None: ...
    async def up_to_date(self) -> None: ...


class Silence(msgspec.Struct, frozen=True):
    """`at_ms` is when the broker got it."""

    at_ms: int
    until_ms: int


class ClosedAlerts(TopicTailer):
    """`why_closed` is about what was read so far; after `up_to_date` that is all that was published before the call.

    Commands are remembered as long as their topic keeps them, and alerts' ends for a day: an escalation's own state
    knows of them much sooner.
    """

    def __init__(self, settings: KafkaSettings, now_ms: Callable[[], int], lapse_ms: int, **service: Any) -> None:  # noqa: ANN401
        since_ms = {
            settings.topic(ALERT_COMMANDS.name): max(0, now_ms() - COMMANDS_REMEMBERED_MS),
            settings.topic(ALERTS.name): max(0, now_ms() - ENDS_REMEMBERED_MS),
        }
        super().__init__(list(since_ms), settings, since_ms=since_ms, **service)
        self._now_ms = now_ms
        self._lapse_ms = lapse_ms
        # Oldest first, for expiry.
        self._acknowledged: dict[str, int] = {}
        self._silences: dict[str, Silence] = {}
        self._resolved: dict[str, int] = {}
        self._asker: Any = None
        self._question: asyncio.Task[Mapping[aiokafka.TopicPartition, int]] | None = None

    def why_closed(self, alert_id: str, severity: m.Severity, now_ms: int) -> str | None:
        """One of "acknowledged", "resolved", "silenced" (see `silenced_until_ms`); None: a reminder is wanted.

        Only the acknowledgement of a critical alert lapses.
        """
        at_ms = self._acknowledged.get(alert_id)
        if at_ms is not None and (severity is not m.Severity.CRITICAL or now_ms < at_ms + self._lapse_ms):
            return "acknowledged"
        if alert_id in self._resolved:
            return "resolved"
        silence = self._silences.get(alert_id)
        return "silenced" if silence is not None and silence.until_ms > now_ms else None

    def acknowledged_at_ms(self, alert_id: str) -> int | None:
        """When the broker got the acknowledgement of an alert, whether it has lapsed or not."""
        return self._acknowledged.get(alert_id)

    def silenced_until_ms(self, alert_id: str) -> int | None:
        """When the newest silence of an alert ends; None when there is none, or when it is closed for good."""
        silence = self._silences.get(alert_id)
        return None if silence is None or alert_id in self._resolved else silence.until_ms

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
            # It may have been answered before this call began: wait for it, then ask again (or join who did).
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
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            return  # the flow of that topic makes a dead letter of it
        match message:
            case m.Acknowledge(alert_id=alert_id):
                self._acknowledge(alert_id, record.timestamp)
            case m.Silence(alert_id=alert_id, until_at_ms=until_ms):
                self._silences.pop(alert_id, None)
                self._silences[alert_id] = Silence(record.timestamp, until_ms)
            case m.NotifyNow(alert_id=alert_id):
                # The newer command counts: it ends a silence.
                self._silences.pop(alert_id, None)
            case m.AlertResolved(alert_id=alert_id):
                self._resolved.setdefault(alert_id, record.timestamp)
        self._forget()

    def _acknowledge(self, alert_id: str, at_ms: int) -> None:
        """The first one counts until it would lapse, as in the escalation."""
        former_ms = self._acknowledged.get(alert_id)
        if former_ms is None or at_ms >= former_ms + self._lapse_ms:
            self._acknowledged.pop(alert_id, None)
            self._acknowledged[alert_id] = at_ms
            # Taking an alert on ends its silence.
            self._silences.pop(alert_id, None)

    def _forget(self) -> None:
        now_ms = self._now_ms()
        while self._resolved and _oldest(self._resolved) < now_ms - ENDS_REMEMBERED_MS:
            del self._resolved[next(iter(self._resolved))]
        while self._acknowledged and _oldest(self._acknowledged) < now_ms - COMMANDS_REMEMBERED_MS:
            del self._acknowledged[next(iter(self._acknowledged))]
        while self._silences and _oldest(self._silences).at_ms < now_ms - COMMANDS_REMEMBERED_MS:
            del self._silences[next(iter(self._silences))]

    def __len__(self) -> int:
        return len(self._acknowledged) + len(self._silences) + len(self._resolved)


def _oldest(entries: Mapping[str, T]) -> T:
    return next(iter(entries.values()))


def _look_at(question: asyncio.Task[Any]) -> None:
    """When everybody who asked gave up, nobody else takes its error."""
    if not question.cancelled():
        question.exception()
