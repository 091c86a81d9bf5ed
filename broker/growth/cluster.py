"""What growing asks of the brokers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, ConsumerGroupState, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from broker.growth.errors import GrowthError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from confluent_kafka import Message

    from broker.partition_counts import ClientSettings

LIMIT_S = 60.0
RETRY_S = 0.2
COORDINATOR_AWAY = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}
AT_REST = {ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD}


class Cluster:
    """Every call ends within a minute, or raises GrowthError or KafkaException."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = {"log_level": 2, **settings}
        self.admin = AdminClient(self._settings)
        self._reader = self._consumer("topics-grow")

    def _consumer(self, group: str) -> Consumer:
        return Consumer(
            {
                **self._settings,
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 50,
            }
        )

    def close(self) -> None:
        self._reader.close()

    def counts(self) -> dict[str, int]:
        """How many partitions each topic has."""
        return {name: len(found.partitions) for name, found in self.admin.list_topics(timeout=LIMIT_S).topics.items()}

    def ends(self, topic: str, partitions: int, *, first: bool = False) -> list[int]:
        """The offset of the next record of each partition, or of the oldest."""
        spec = OffsetSpec.earliest() if first else OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(topic, number): spec for number in range(partitions)}
        answers = self.admin.list_offsets(asked, request_timeout=LIMIT_S)
        found = {tp.partition: answer.result(LIMIT_S).offset for tp, answer in answers.items()}
        return [found[number] for number in range(partitions)]

    def read(self, topic: str, partition: int, first: int, end: int) -> Iterator[Message]:
        """The records from `first` up to, and without, `end`; what a producer took back is not among them."""
        if first >= end:
            return
        self._reader.assign([TopicPartition(topic, partition, first)])
        heard_at = time.monotonic()
        while True:
            for message in self._reader.consume(10_000, 0.5):
                heard_at = time.monotonic()
                offset, error = message.offset() or 0, message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name
                    raise KafkaException(error)
                if offset >= end:
                    return
                if error is None:
                    yield message
            if time.monotonic() - heard_at > LIMIT_S:
                raise GrowthError(
                    f"{topic}[{partition}] could not be read up to offset {end}: a producer's transaction may be open"
                    " there; end that producer, wait for its transaction to time out and run `topics grow` again"
                )

    def committed(self, group: str, topic: str, partitions: int) -> tuple[list[int | None], object]:
        """Where a group stands in each partition, and what commits for it inside a transaction."""
        member = self._consumer(group)
        asked = [TopicPartition(topic, number) for number in range(partitions)]
        found: list[TopicPartition] = []

        def answered() -> bool:
            try:
                found[:] = member.committed(asked, timeout=LIMIT_S)
            except KafkaException as error:
                if error.args[0].code() not in COORDINATOR_AWAY:
                    raise
                return False
            return True

        try:
            self._until(answered, f"the coordinator of group {group}")
            return [tp.offset if tp.offset >= 0 else None for tp in found], member.consumer_group_metadata()
        finally:
            member.close()

    def refuse_active(self, groups: Collection[str]) -> None:
        """Raises GrowthError where a group has members."""
        active: set[str] = set()

        def answered() -> bool:
            # Each broker is asked for its groups: asking their coordinators fails where none was ever needed.
            found = self.admin.list_consumer_groups(request_timeout=LIMIT_S).result(LIMIT_S)
            active.update(known.group_id for known in found.valid if known.state not in AT_REST)
            return not found.errors

        self._until(answered, "the brokers to tell their groups")
        active.intersection_update(groups)
        if active:
            raise GrowthError(
                f"active: {', '.join(sorted(active))}; stop all workers, and whatever writes readings or configuration"
                " (api, relay, mqtt), then run `topics grow` again. A worker that was killed is in its group until its"
                " session timeout is over"
            )

    def create_topic(self, topic: str) -> None:
        config = {"cleanup.policy": "delete", "retention.ms": "-1"}
        made = self.admin.create_topics([NewTopic(topic, 1, -1, config=config)])[topic]
        made.result(LIMIT_S)
        self._until(lambda: topic in self.counts(), f"topic {topic} to be made")

    def delete_topic(self, topic: str) -> None:
        self.admin.delete_topics([topic])[topic].result(LIMIT_S)
        self._until(lambda: topic not in self.counts(), f"topic {topic} to be deleted")

    def add_partitions(self, topics: Collection[str], partitions: int) -> None:
        wanted = [NewPartitions(topic, partitions) for topic in topics]
        if not wanted:
            return
        for answer in self.admin.create_partitions(wanted).values():
            answer.result(LIMIT_S)
        self._until(lambda: {self.counts().get(topic) for topic in topics} == {partitions}, "the new partitions")
        # A new partition has no leader for a moment.
        self._until(lambda: all(self._led(topic, partitions) for topic in topics), "leaders of the new partitions")

    def _led(self, topic: str, partitions: int) -> bool:
        try:
            self.ends(topic, partitions)
        except KafkaException:
            return False
        return True

    def delete_before(self, topic: str, firsts: Mapping[int, int]) -> None:
        """Delete the records of a compacted topic before some offsets: brokers only do where a topic may expire."""
        self._configure(topic, {"cleanup.policy": "compact,delete", "retention.ms": "-1"})
        wanted = [TopicPartition(topic, number, first) for number, first in firsts.items() if first > 0]

        def deleted() -> bool:
            try:
                for answer in self.admin.delete_records(wanted, request_timeout=LIMIT_S).values():
                    answer.result(LIMIT_S)
            except KafkaException as error:
                # Until the leader knows the setting.
                if error.args[0].code() != KafkaError.POLICY_VIOLATION:
                    raise
                return False
            return True

        if wanted:
            self._until(deleted, f"the moved records of {topic} to be deleted")
        self._configure(topic, {"cleanup.policy": "compact", "retention.ms": None})

    def _configure(self, topic: str, values: Mapping[str, str | None]) -> None:
        entries = [
            ConfigEntry(
                name,
                value,
                incremental_operation=AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET,
            )
            for name, value in values.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        self.admin.incremental_alter_configs([resource])[resource].result(LIMIT_S)

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not holds():
            if time.monotonic() > deadline:
                raise GrowthError(f"waited {LIMIT_S:g} s for {what}; look at the brokers' logs and run it again")
            time.sleep(RETRY_S)
