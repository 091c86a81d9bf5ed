"""Refuses to work on a topic that was deleted and created again, while the old topic's state is still in the tables.

Kafka deletes the committed offsets with a topic, so nothing at the broker tells the new one from the old one. The
offsets that tables contain would make its first readings pass for known ones, silently. Each topic has an id that a
new topic of the same name does not share; the data folder remembers it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from broker.partition_counts import BrokerUnreachableError, TopicError

if TYPE_CHECKING:
    from collections.abc import Collection

    from streams.engine.settings import WorkerSettings

FILE = "topic-ids.json"
ANSWER_WITHIN_S = 30.0

_decode = msgspec.json.Decoder(dict[str, str]).decode


def check_identity(settings: WorkerSettings, names: Collection[str]) -> None:
    """Compare the ids of the topics (their names at the broker) with those at the last start, and remember them.

    Raises TopicError, which names the way out, and BrokerUnreachableError.
    """
    path = settings.data_dir / FILE
    known = _decode(path.read_bytes()) if path.exists() else {}
    found = _ids(settings, names)
    if changed := sorted(name for name, id_ in found.items() if known.get(name, id_) != id_):
        raise TopicError(
            f"{', '.join(changed)}: deleted and created again since this worker last ran with {settings.data_dir}. The"
            " tables contain offsets of the former topic, and would take new records for known ones. Delete the"
            " changelogs and data folders of this app's tables and reset its group's offsets; or, if the tables are"
            f" new already, delete {path}"
        )
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(known | found))


def _ids(settings: WorkerSettings, names: Collection[str]) -> dict[str, str]:
    client = AdminClient({"log_level": 2, **settings.librdkafka()})
    answers = client.describe_topics(TopicCollection(list(names)), request_timeout=ANSWER_WITHIN_S)
    try:
        return {name: str(answer.result().topic_id) for name, answer in answers.items()}
    except KafkaException as error:
        raise BrokerUnreachableError(f"the ids of {', '.join(names)} are unknown: {error}") from error
