"""Refuses to work on a topic that was deleted and created again, while the old topic's state is still in the tables.

Kafka deletes the committed offsets with a topic, so a new topic of the same name looks like one that nobody has read.
The offsets that tables contain would make its first readings pass for known ones, silently. Each topic has an id that a
new topic of the same name does not share. Two places remember it, each beside what it speaks of: the data folder, for
the stores in it; and a compacted topic beside the changelogs, because a worker may come to them with a new folder.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from broker.partition_counts import BrokerUnreachableError, TopicError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from streams.engine.settings import WorkerSettings

FILE = "topic-ids.json"
ANSWER_WITHIN_S = 30.0
POLL_S = 0.1
AT_ONCE = 100

_decode = msgspec.json.Decoder(dict[str, str]).decode


def check_identity(settings: WorkerSettings, app: str, names: Collection[str]) -> None:
    """Compare the ids of the topics (their names at the broker) with those that the app's tables come from.

    Remembers those that are new. Raises TopicError, which names the way out, and BrokerUnreachableError.
    """
    path, topic = settings.data_dir / FILE, f"{app}-topic-ids-changelog"
    try:
        found = _ids(settings, names)
        of_changelogs = _remembered(settings, topic, app)
        of_stores = _decode(path.read_bytes()) if path.exists() else {}
        for known in (of_stores, of_changelogs):
            if changed := sorted(name for name, id_ in found.items() if known.get(name, id_) != id_):
                raise TopicError(
                    f"{', '.join(changed)}: deleted and created again since this app's tables were written. They"
                    " contain offsets of the former topic, and would take new records for known ones. Delete all"
                    f" changelogs of this app ({app}-…-changelog) and the data folders of its workers, and reset its"
                    f" group's offsets; or, if the tables are new already, delete {path} and the topic {topic}"
                )
        _remember(settings, topic, {name: id_ for name, id_ in found.items() if name not in of_changelogs})
    except KafkaException as error:
        raise BrokerUnreachableError(f"the ids of {', '.join(names)} are unknown: {error}") from error
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    # A process that dies while it writes must not leave half a file.
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(of_stores | found))
    new.replace(path)


def _ids(settings: WorkerSettings, names: Collection[str]) -> dict[str, str]:
    client = AdminClient({"log_level": 2, **settings.librdkafka()})
    answers = client.describe_topics(TopicCollection(list(names)), request_timeout=ANSWER_WITHIN_S)
    return {name: str(answer.result().topic_id) for name, answer in answers.items()}


def _remembered(settings: WorkerSettings, topic: str, group: str) -> dict[str, str]:
    """What the topic says, which is made if it is not there."""
    admin = AdminClient({"log_level": 2, **settings.librdkafka()})
    wanted = NewTopic(topic, 1, settings.replication_factor, config={"cleanup.policy": "compact"})
    try:
        admin.create_topics([wanted], request_timeout=ANSWER_WITHIN_S)[topic].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
    # It joins no group; librdkafka wants the name of one all the same, and a worker has a right to its own only.
    consumer = Consumer({"log_level": 2, **settings.librdkafka(), "group.id": group, "enable.auto.commit": False})
    try:
        return _read(consumer, topic)
    finally:
        consumer.close()


def _read(consumer: Consumer, topic: str) -> dict[str, str]:
    found: dict[str, str] = {}
    give_up = time.monotonic() + ANSWER_WITHIN_S
    begin, end = _bounds(consumer, topic, give_up)
    consumer.assign([TopicPartition(topic, 0, begin)])
    while begin < end:
        if time.monotonic() > give_up:
            raise BrokerUnreachableError(f"{topic} could not be read within {ANSWER_WITHIN_S:g} s")
        for message in consumer.consume(AT_ONCE, timeout=POLL_S):
            key, value = message.key(), message.value()
            if message.error() is None and key is not None and value is not None:
                found[_text(key)] = _text(value)
        # Before the first record it is no offset.
        begin = max(begin, consumer.position([TopicPartition(topic, 0)])[0].offset)
    return found


def _bounds(consumer: Consumer, topic: str, give_up: float) -> tuple[int, int]:
    """The first and the next offset; a topic that was just made takes a moment to be known everywhere."""
    while True:
        try:
            bounds: tuple[int, int] = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=ANSWER_WITHIN_S)
        except KafkaException:
            if time.monotonic() > give_up:
                raise
            time.sleep(POLL_S)
        else:
            return bounds


def _remember(settings: WorkerSettings, topic: str, ids: Mapping[str, str]) -> None:
    if not ids:
        return
    producer, refused = Producer({"log_level": 2, **settings.librdkafka(), "acks": "all"}), []

    def answered(error: KafkaError | None, _: object) -> None:
        if error is not None:
            refused.append(error)

    for name, id_ in ids.items():
        producer.produce(topic, key=name, value=id_, on_delivery=answered)
    left = producer.flush(ANSWER_WITHIN_S)
    if left or refused:
        raise BrokerUnreachableError(f"{topic} did not take {left + len(refused)} records: {refused or 'no answer'}")


def _text(raw: bytes | str) -> str:
    return raw if isinstance(raw, str) else raw.decode()
