"""How many partitions each topic has: chosen when it is made, known from the broker ever after.

Topics that meet in one worker share their count: a worker has the partitions of one number of all of them, and the
tables beside them are cut the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.topics import CO_PARTITIONED, TOPICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from confluent_kafka.admin import TopicMetadata

    from schemas.topic import AnyTopic

DEFAULT_TIME_LIMIT_S = 30.0
GROWING = "topics-growing"
"""The topic that is there while `topics grow` is under way, with the deployment's prefix; it keeps the protocol."""

ClientSettings: TypeAlias = "Mapping[str, str | int | float | bool]"
"""librdkafka's."""


class TopicError(RuntimeError):
    """A topic cannot be used as it is; the message says what to do."""


class BrokerUnreachableError(RuntimeError):
    """No broker answered in the time given."""


class PartitionCounts(msgspec.Struct, frozen=True):
    """What a deployment chooses: for every topic, or for some by name. A choice holds for all that the topic meets."""

    every: int | None = None
    by_topic: Mapping[str, int] = {}

    def chosen(self, topic: AnyTopic) -> int | None:
        """Raises TopicError where the choices contradict each other or name no topic."""
        if unknown := self.by_topic.keys() - {known.name for known in TOPICS}:
            raise TopicError(
                f"there is no topic {', '.join(sorted(unknown))}; `freshtrack topics check` names them all"
            )
        meant = {name: self.by_topic[name] for name in _names_with(topic) if name in self.by_topic}
        if len(set(meant.values())) > 1:
            told = ", ".join(f"{name}={count}" for name, count in meant.items())
            raise TopicError(f"{told}: these topics meet in one worker; give them the same number of partitions")
        return next(iter(meant.values()), self.every)

    def wanted(self, topic: AnyTopic, found: Mapping[str, TopicMetadata], prefix: str) -> int:
        """For a topic to be made: the choice, else the count of those that it meets, else the declared one."""
        if (chosen := self.chosen(topic)) is not None:
            return chosen
        met = (found.get(prefix + name) for name in _names_with(topic))
        return next((len(known.partitions) for known in met if known is not None), topic.partitions)


DECLARED = PartitionCounts()


def check_partitions(
    settings: ClientSettings,
    topics: Iterable[AnyTopic] = TOPICS,
    *,
    prefix: str = "",
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
) -> dict[str, int]:
    """How many partitions each of the topics has, by its plain name.

    Workers call it before they join their group. Raises TopicError, which names topics, counts and the way out, where
    one is missing, or has another count than one that it meets; and BrokerUnreachableError.
    """
    found = existing(client(settings), time_limit_s)
    wanted = tuple(topics)
    if problems := count_problems(wanted, found, prefix):
        raise TopicError("\n".join(problems))
    return {topic.name: len(found[prefix + topic.name].partitions) for topic in wanted}


def count_problems(topics: Iterable[AnyTopic], found: Mapping[str, TopicMetadata], prefix: str) -> list[str]:
    """What is missing and what differs from those that it meets, a sentence each."""
    wanted = {topic.name for topic in topics}
    problems = [
        f"topic {prefix}{name} does not exist; run `freshtrack topics create`"
        for name in sorted(wanted)
        if prefix + name not in found
    ]
    if prefix + GROWING in found:
        problems.append(
            "`freshtrack topics grow` did not reach its end: rows and records lie in two places; run it again, with"
            " the same number"
        )
    for worker, met in CO_PARTITIONED.items():
        names = [prefix + topic.name for topic in met if topic.name in wanted and prefix + topic.name in found]
        counts = {name: len(found[name].partitions) for name in names}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{name} has {count}" for name, count in counts.items())
            problems.append(
                f"the topics of worker {worker} must have the same number of partitions: {told}; stop all processes"
                f" and run `freshtrack topics grow {max(counts.values())}`"
            )
    return problems


def partition_count(settings: ClientSettings, topic: AnyTopic, *, prefix: str) -> int:
    """The topic's count at the broker; raises as `check_partitions` does."""
    return check_partitions(settings, [topic], prefix=prefix)[topic.name]


def client(settings: ClientSettings) -> AdminClient:
    # librdkafka prints twenty lines a second while no broker answers; our error says it once.
    return AdminClient({"log_level": 2, **settings})


def existing(admin: AdminClient, time_limit_s: float) -> dict[str, TopicMetadata]:
    """The broker's topics. Raises BrokerUnreachableError."""
    try:
        return admin.list_topics(timeout=time_limit_s).topics
    except KafkaException as error:
        raise BrokerUnreachableError(
            f"no Kafka broker answered within {time_limit_s:g} s ({_reason(error)}); start one, or set"
            " KAFKA_BOOTSTRAP_SERVERS to its address"
        ) from error


def _names_with(topic: AnyTopic) -> list[str]:
    """The topic's own name first, then of those that it meets."""
    met = (other.name for group in CO_PARTITIONED.values() if topic in group for other in group if other != topic)
    return [topic.name, *met]


def _reason(error: KafkaException) -> str:
    return str(error.args[0].str()) if error.args else str(error)
