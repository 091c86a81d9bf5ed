"""The newest readings and open alerts, kept in memory from the topics: what the live page shows within a second.

One reader a process; it joins no group and commits nothing, so that any number of processes see everything alike. It
begins a quarter of an hour back, and the database gives what is older. A unit takes about 700 bytes.
"""

from __future__ import annotations

import asyncio
import math
import threading
from array import array
from collections import defaultdict, deque
from typing import TYPE_CHECKING

import msgspec
import structlog
from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from api.pages.subscription import Subscription
from schemas import messages as m
from schemas.messages.reading_bounds import COLDEST_C, WARMEST_C
from schemas.topics import ALERTS, READINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from confluent_kafka import Message

    from broker.settings import KafkaSettings

log = structlog.get_logger(__name__)

BEGIN_MS = 15 * 60_000
MINUTE_MS = 60_000
LINE_MINUTES = 120
# Whoever writes to Kafka may invent units; what is beyond this is not kept.
MOST_UNITS = 200_000
RESOLVED_KEPT = 1_000
POLL_S = 0.2
BATCH = 1_000
CALL_LIMIT_S = 2.0
RETRY_S = 2.0


class UnitNow(msgspec.Struct):
    """A unit's newest reading, and a temperature a minute for the last two hours in a ring."""

    at_ms: int = 0
    temperature_c: float = math.nan
    minutes: array[float] = msgspec.field(default_factory=lambda: array("f", [math.nan]) * LINE_MINUTES)

    def add(self, at_ms: int, temperature_c: float) -> bool:
        """Whether the reading is the newest; an older one only fills its minute."""
        minute = at_ms // MINUTE_MS
        newest = self.at_ms // MINUTE_MS
        if self.at_ms and minute > newest:
            for skipped in range(newest + 1, min(minute, newest + LINE_MINUTES) + 1):
                self.minutes[skipped % LINE_MINUTES] = math.nan
        if minute > newest - LINE_MINUTES:
            self.minutes[minute % LINE_MINUTES] = temperature_c
        if at_ms < self.at_ms:
            return False
        self.at_ms, self.temperature_c = at_ms, temperature_c
        return True

    def line(self, now_ms: int) -> list[float | None]:
        """A temperature for each of the last 120 minutes, the oldest first; None where nothing was measured."""
        newest, last = self.at_ms // MINUTE_MS, now_ms // MINUTE_MS
        known = (number for number in range(last - LINE_MINUTES + 1, last + 1))
        return [self._of(minute) if newest - LINE_MINUTES < minute <= newest else None for minute in known]

    def _of(self, minute: int) -> float | None:
        found = self.minutes[minute % LINE_MINUTES]
        return None if math.isnan(found) else round(found, 2)


class LiveFeed:
    """Call `start` and `stop` in the event loop; `now_ms` is the wall clock. Reads nothing before a page asks."""

    def __init__(self, kafka: KafkaSettings, now_ms: Callable[[], int], future_ms: int) -> None:
        self.units: dict[str, UnitNow] = {}
        self.alerts: dict[str, dict[str, m.Alert]] = defaultdict(dict)
        self.resolved: deque[str] = deque(maxlen=RESOLVED_KEPT)
        """Alerts that ended lately, which the database may still have as open."""
        self.reading = False
        """Whether the topics are being read; if not, the page says that its values are old."""
        self._kafka, self._now_ms, self._future_ms = kafka, now_ms, future_ms
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[Subscription] = set()

    def start(self) -> None:
        """Begin to read, unless that was done."""
        if self._thread is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="live-feed", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Ends the reader and every subscription."""
        self._stopping.set()
        for one in list(self._waiting):
            one.close()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, CALL_LIMIT_S)

    def subscribe(self, unit_ids: Iterable[str]) -> Subscription:
        """Changes of these units, until it is closed."""
        return Subscription(frozenset(unit_ids), self._waiting)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._read()
            except KafkaException as error:
                self.reading = False
                log.warning("api.live_feed_interrupted", error=str(error.args[0]), retry_in_s=RETRY_S)
                self._stopping.wait(RETRY_S)

    def _read(self) -> None:
        consumer = Consumer(
            self._kafka.librdkafka()
            | {
                # Required, but unused: partitions are assigned by hand and nothing is committed.
                "group.id": self._kafka.topic("api"),
                "enable.auto.commit": False,
                "auto.offset.reset": "latest",
                "fetch.wait.max.ms": 100,
                "queued.max.messages.kbytes": 8_192,
                "log_level": 2,
            }
        )
        try:
            consumer.assign(self._begin(consumer))
            # An end that came while nothing was read may lie before where reading begins; the database has it.
            self.alerts = defaultdict(dict)
            self.reading = True
            while not self._stopping.is_set():
                self._take(consumer.consume(BATCH, POLL_S))
        finally:
            self.reading = False
            consumer.close()

    def _begin(self, consumer: Consumer) -> list[TopicPartition]:
        """The positions of a quarter of an hour ago."""
        since_ms, wanted = self._now_ms() - BEGIN_MS, []
        for topic in (READINGS, ALERTS):
            name = self._kafka.topic(topic.name)
            found = consumer.list_topics(name, timeout=CALL_LIMIT_S).topics[name]
            if found.error is not None:
                raise KafkaException(found.error)
            wanted += [TopicPartition(name, number, since_ms) for number in found.partitions]
        found = consumer.offsets_for_times(wanted, timeout=CALL_LIMIT_S)
        for one in found:
            if one.offset == OFFSET_END:
                # Now, not when the first fetch is made: what is sent meanwhile is to be read.
                one.offset = _end(consumer, one)
        return list(found)

    def _take(self, records: Sequence[Message]) -> None:
        changed: set[str] = set()
        for record in records:
            if (error := record.error()) is not None:
                raise KafkaException(error)
            value = record.value()
            try:
                if record.topic() == self._kafka.topic(READINGS.name):
                    changed |= self._add(READINGS.decode(value))
                else:
                    changed.add(self._follow(ALERTS.decode(value)))
            except (msgspec.MsgspecError, ValueError):
                # Detection makes a dead letter of it.
                continue
        if changed and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._announce, changed)

    def _add(self, batch: m.ReadingBatch) -> set[str]:
        limit_ms = self._now_ms() + self._future_ms
        unit = self.units.get(batch.unit_id) or UnitNow()
        if not unit.at_ms and len(self.units) >= MOST_UNITS:
            return set()
        newest = False
        for reading in batch.readings:
            # As detection: one value from a broken probe would flatten every line of the page, or break it.
            if reading.at_ms <= limit_ms and COLDEST_C <= reading.temperature_c <= WARMEST_C:
                newest |= unit.add(reading.at_ms, reading.temperature_c)
        if unit.at_ms:
            self.units[batch.unit_id] = unit
        return {batch.unit_id} if newest else set()

    def _follow(self, alert: m.Alert) -> str:
        known = self.alerts[alert.unit_id]
        if isinstance(alert, m.AlertResolved):
            known.pop(alert.alert_id, None)
            self.resolved.append(alert.alert_id)
        else:
            known[alert.alert_id] = alert
        if not known:
            del self.alerts[alert.unit_id]
        return alert.unit_id

    def _announce(self, changed: set[str]) -> None:
        for one in self._waiting:
            one.add(changed)


def _end(consumer: Consumer, partition: TopicPartition) -> int:
    """The offset of the next record; raises KafkaException where the broker does not say in time."""
    found = consumer.get_watermark_offsets(partition, timeout=CALL_LIMIT_S)
    if found is None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 - librdkafka's name for it
    return int(found[1])
