"""One transaction over all topics and groups: other readers see the whole of it, or nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer, TopicPartition

from broker.growth.errors import GrowthError
from schemas.topics import TOPICS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from confluent_kafka import KafkaError, Message

    from broker.partition_counts import ClientSettings

LIMIT_S = 60.0
# The longest that brokers allow by default.
OPEN_AT_MOST_MS = 900_000
# A record's framing counts as well.
LARGEST_BYTES = max(topic.max_message_bytes for topic in TOPICS) + 65_536


def producer_settings(settings: ClientSettings) -> dict[str, str | int | float | bool]:
    """Of a producer that sends whatever lies in a topic."""
    return {
        "log_level": 2,
        **settings,
        "linger.ms": 20,
        "compression.type": "lz4",
        "queue.buffering.max.messages": 500_000,
        # librdkafka's own limit is lower than that of some topics.
        "message.max.bytes": LARGEST_BYTES,
    }


class Transaction:
    """The next run of the same name ends what a run before it left open: aborted, unless its commit had begun."""

    def __init__(self, settings: ClientSettings, name: str) -> None:
        self._producer = Producer(
            {**producer_settings(settings), "transactional.id": name, "transaction.timeout.ms": OPEN_AT_MOST_MS}
        )
        self._producer.init_transactions(LIMIT_S)
        self._failed: list[str] = []
        self.sent: Counter[tuple[str, int]] = Counter()

    def begin(self) -> None:
        self._producer.begin_transaction()

    def send(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        *,
        like: Message | None = None,
        arrived: Callable[[int], None] | None = None,
    ) -> None:
        """With the time and headers of the record that it is `like`; `arrived` is told the new offset."""

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._failed.append(f"{topic}[{partition}]: {error}")
            elif arrived is not None:
                arrived(message.offset() or 0)

        options: dict[str, Any] = {}
        if like is not None:
            options = {"headers": like.headers(), "timestamp": max(0, like.timestamp()[1])}
        while True:
            try:
                self._producer.produce(topic, value, key, partition, on_delivery=delivered, **options)
                break
            except BufferError:
                self._producer.poll(0.1)
                self._check()
        self._producer.poll(0)
        self.sent[topic, partition] += 1

    def flush(self) -> None:
        """Returns when the brokers have all of it."""
        left = self._producer.flush(LIMIT_S)
        self._check()
        if left:
            raise GrowthError(f"{left} records were not acknowledged within {LIMIT_S:g} s; run `topics grow` again")

    def _check(self) -> None:
        if self._failed:
            raise GrowthError(f"a broker refused a record: {self._failed[0]}; nothing was moved, run it again")

    def place(self, topic: str, offsets: Sequence[int], member: Any) -> None:  # noqa: ANN401 - librdkafka's handle
        """Where a group reads on in each partition."""
        wanted = [TopicPartition(topic, number, offset) for number, offset in enumerate(offsets)]
        self._producer.send_offsets_to_transaction(wanted, member, LIMIT_S)

    def commit(self) -> None:
        self._producer.commit_transaction(LIMIT_S)

    def abort(self) -> None:
        self._producer.abort_transaction(LIMIT_S)
