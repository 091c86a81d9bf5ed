"""The producer: readings to Kafka, each acknowledged, in the partitions where Java and aiokafka would put them.

librdkafka partitions by CRC32 unless told otherwise, all our other clients by murmur2: a unit's readings would
lie in one partition and what belongs to them in another. So the partitioner is fixed here and not a setting.
"""

from __future__ import annotations

import logging
import math
import threading
from concurrent.futures import Future
from time import monotonic
from typing import TYPE_CHECKING, Self

import msgspec
from confluent_kafka import KafkaError, Producer

from producers.batch_check import check_batch
from producers.errors import BatchError, BatchTooLargeError, NotDeliveredError, QueueFullError
from schemas import messages as m
from schemas.headers import Header, content_id, new_traceparent, type_name
from schemas.topics import READINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from confluent_kafka import Message

    from schemas.topic import AnyTopic

PARTITIONER = "murmur2_random"
# A record's key, headers and framing count towards the broker's limit as well.
RECORD_OVERHEAD_BYTES = 4_096
DEFAULTS: dict[str, str | int | float | bool] = {
    "enable.idempotence": True,
    "acks": "all",
    "compression.type": "lz4",
    # A part of a breach's way to a phone; who sends by the hundred thousand may set 5 and more.
    "linger.ms": 2,
    "batch.size": 1_048_576,
    "delivery.timeout.ms": 120_000,
    # Memory is bounded by these two; `send` waits or refuses when they are reached.
    "queue.buffering.max.messages": 200_000,
    "queue.buffering.max.kbytes": 131_072,
}
_READING_BATCH = type_name(m.ReadingBatch)


class Delivery(msgspec.Struct, frozen=True):
    """Where the broker keeps an acknowledged message."""

    topic: str
    partition: int
    offset: int


class KafkaProducer:
    """Sends messages of any declared topic. Safe to use from several threads; one a process is enough.

    `settings` are librdkafka's (`bootstrap.servers` and whatever else); the partitioner may not be another.
    A thread of its own serves the acknowledgements, so a future is done without anybody polling.
    """

    def __init__(
        self, settings: Mapping[str, str | int | float | bool], *, prefix: str = "", send_wait_s: float = 30.0
    ) -> None:
        if settings.get("partitioner", PARTITIONER) != PARTITIONER:
            raise BatchError(
                f"partitioner is {settings['partitioner']!r}, must be {PARTITIONER!r}: another one puts keys in"
                " partitions where the workers do not expect them; leave the setting out"
            )
        configuration = {
            **DEFAULTS,
            "message.max.bytes": READINGS.max_message_bytes,
            **settings,
            "partitioner": PARTITIONER,
        }
        self._prefix = prefix
        self._send_wait_s = send_wait_s
        self._producer = Producer(configuration, logger=logging.getLogger("freshtrack.librdkafka"))
        self._closing = threading.Event()
        self._poller = threading.Thread(target=self._serve_acknowledgements, name="kafka-acks", daemon=True)
        self._poller.start()

    def send(
        self,
        topic: AnyTopic,
        key: str,
        value: bytes | None,
        *,
        message_type: str,
        record_id: str | None = None,
        traceparent: str | None = None,
        on_delivery: Callable[[KafkaError | None, Message], None] | None = None,
        wait_s: float | None = None,
        more_headers: Mapping[str, str] | None = None,
    ) -> None:
        """Hand one record over; `None` as value is a tombstone. Returns before the broker has it.

        Waits up to `wait_s` (0: not at all; by default as long as the producer was told) for room in the queue.
        Raises BatchTooLargeError, and QueueFullError when no room came.
        """
        raw_key = key.encode()
        _check_size(topic, raw_key, value)
        headers: list[tuple[str, str | bytes | None]] = [
            (Header.ID.value, record_id or content_id(raw_key, value or b"")),
            (Header.TYPE.value, message_type),
            (Header.TRACEPARENT.value, traceparent or new_traceparent()),
            *(more_headers or {}).items(),
        ]
        until = None
        while True:
            try:
                self._producer.produce(
                    self._prefix + topic.name, value, raw_key, on_delivery=on_delivery, headers=headers
                )
            except BufferError:
                until = until or monotonic() + (self._send_wait_s if wait_s is None else wait_s)
                if monotonic() >= until:
                    raise QueueFullError(
                        f"about {len(self._producer)} messages wait for the broker and no room came in time; send"
                        " more slowly, or raise queue.buffering.max.messages and queue.buffering.max.kbytes"
                    ) from None
                self._producer.poll(0.02)
            else:
                return

    def publish(
        self,
        topic: AnyTopic,
        key: str,
        value: bytes | None,
        *,
        message_type: str,
        record_id: str | None = None,
        traceparent: str | None = None,
        wait_s: float | None = None,
        more_headers: Mapping[str, str] | None = None,
    ) -> Future[Delivery]:
        """Like `send`; the future holds where the broker put it, or NotDeliveredError.

        `asyncio.wrap_future` makes it awaitable.
        """
        future: Future[Delivery] = Future()
        future.set_running_or_notify_cancel()
        self.send(
            topic,
            key,
            value,
            message_type=message_type,
            record_id=record_id,
            traceparent=traceparent,
            on_delivery=_settles(future),
            wait_s=wait_s,
            more_headers=more_headers,
        )
        return future

    def flush(self, time_limit_s: float = 30.0) -> None:
        """Wait until everything sent is acknowledged or failed; raises NotDeliveredError when time runs out."""
        left = self._producer.flush(time_limit_s)
        if left:
            raise NotDeliveredError(
                f"about {left} messages were not acknowledged within {time_limit_s:g} s; is the broker up?"
            )

    def close(self, time_limit_s: float = 30.0) -> None:
        """Flush, then end the thread. What the broker did not take in time is dropped, and told by the error."""
        try:
            self.flush(time_limit_s)
        finally:
            self._producer.purge()
            self._producer.flush(1)
            self._closing.set()
            self._poller.join(5)

    def __len__(self) -> int:
        """About how many messages wait for an acknowledgement: librdkafka counts its own notices as well."""
        return len(self._producer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve_acknowledgements(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(0.1)


class ReadingsProducer(KafkaProducer):
    """Sends batches of readings to the topic `readings`; key: unit id."""

    def send_batch(
        self,
        batch: m.ReadingBatch,
        *,
        record_id: str | None = None,
        traceparent: str | None = None,
        on_delivery: Callable[[KafkaError | None, Message], None] | None = None,
        wait_s: float | None = None,
    ) -> None:
        """Check a batch and hand it over. The same batch sent again has the same `id` header by default.

        Raises BatchError (no unit, no readings, not a finite number), BatchTooLargeError, QueueFullError.
        """
        check_batch(batch)
        self.send(
            READINGS,
            batch.unit_id,
            m.encode(batch),
            message_type=_READING_BATCH,
            record_id=record_id,
            traceparent=traceparent,
            on_delivery=on_delivery,
            wait_s=wait_s,
        )


def _check_size(topic: AnyTopic, key: bytes, value: bytes | None) -> None:
    size = len(key) + len(value or b"")
    limit = topic.max_message_bytes - RECORD_OVERHEAD_BYTES
    if size > limit:
        raise BatchTooLargeError(
            f"a message of {size} bytes for {topic.name} is above the limit of {limit} bytes;"
            f" split it in {math.ceil(size / limit)} or more batches"
        )


def _settles(future: Future[Delivery]) -> Callable[[KafkaError | None, Message], None]:
    def settle(error: KafkaError | None, message: Message) -> None:
        if error is None:
            future.set_result(Delivery(message.topic() or "", message.partition() or 0, message.offset() or 0))
        else:
            future.set_exception(
                NotDeliveredError(f"{message.topic()} did not take the message: {error.str()} ({error.name()})")
            )

    return settle
