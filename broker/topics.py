"""Topics at the broker: made and altered from their declarations, and checked before a worker starts.

Partitions are never added to a topic that exists. Keys would move to other partitions, and with them the order of a
unit's readings and the state that a worker keeps for it.
"""

from __future__ import annotations

from enum import StrEnum
from time import monotonic, sleep
from typing import TYPE_CHECKING

import msgspec
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from schemas.topics import TOPICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from concurrent.futures import Future

    from confluent_kafka.admin import TopicMetadata

    from schemas.topic import AnyTopic

DEFAULT_TIME_LIMIT_S = 30.0
# One broker can keep one copy only; more copies come by the option.
DEFAULT_REPLICATION_FACTOR = 1


class TopicError(RuntimeError):
    """A topic cannot be used as it is; the message says what to do."""


class BrokerUnreachableError(RuntimeError):
    """No broker answered in the time given."""


class Did(StrEnum):
    CREATED = "created"
    ALTERED = "altered"
    LEFT = "left as it is"
    REFUSED = "refused"


class Change(msgspec.Struct, frozen=True):
    """What `create_topics` did to one topic, in words that are shown to a person."""

    topic: str
    did: Did
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.topic}: {self.did}{f' ({self.detail})' if self.detail else ''}"


def create_topics(
    settings: Mapping[str, str | int | float | bool],
    *,
    prefix: str = "",
    replication_factor: int = DEFAULT_REPLICATION_FACTOR,
    topics: Iterable[AnyTopic] = TOPICS,
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
) -> list[Change]:
    """Make what is missing and set what differs; a second run changes nothing.

    `settings` are librdkafka's. A topic with another partition count is left untouched and reported as REFUSED.
    Raises BrokerUnreachableError, TopicError, and KafkaException for what the broker refuses.
    """
    client = _client(settings)
    wanted = {prefix + topic.name: topic for topic in topics}
    missing = {n: t for n, t in wanted.items() if n not in _existing(client, time_limit_s)}
    # A process beside this one may be making the same topics: the broker tells which were first.
    made = _create(client, missing, replication_factor, time_limit_s)
    found = _once_known(client, wanted, time_limit_s)
    altered = _alter(client, {n: t for n, t in wanted.items() if n not in made}, time_limit_s)
    changes = []
    for name, topic in wanted.items():
        if name in made:
            changes.append(Change(name, Did.CREATED, f"{topic.partitions} partitions"))
        elif len(found[name].partitions) != topic.partitions:
            changes.append(Change(name, Did.REFUSED, _other_count(name, len(found[name].partitions), topic.partitions)))
        elif name in altered:
            changes.append(Change(name, Did.ALTERED, altered[name]))
        else:
            changes.append(Change(name, Did.LEFT))
    return changes


def check_topics(
    settings: Mapping[str, str | int | float | bool],
    *,
    prefix: str = "",
    topics: Iterable[AnyTopic] = TOPICS,
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
) -> list[str]:
    """What differs between the declarations and the broker, a sentence each; empty when nothing does."""
    client = _client(settings)
    wanted = {prefix + topic.name: topic for topic in topics}
    found = _existing(client, time_limit_s)
    problems = _count_problems(wanted, found)
    differing = _differences(client, {n: t for n, t in wanted.items() if n in found}, time_limit_s)
    problems += [
        f"topic {name}: {', '.join(f'{key} is {now}, declared {want}' for key, (now, want) in entries.items())};"
        f" run `freshtrack topics create`"
        for name, entries in differing.items()
    ]
    return problems


def check_partitions(
    settings: Mapping[str, str | int | float | bool],
    topics: Iterable[AnyTopic],
    *,
    prefix: str = "",
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
) -> None:
    """Refuse to work with a topic that is missing or has another partition count than declared.

    Workers call it before they join their group. Raises TopicError that names topic, found, wanted and the way out.
    """
    wanted = {prefix + topic.name: topic for topic in topics}
    problems = _count_problems(wanted, _existing(_client(settings), time_limit_s))
    if problems:
        raise TopicError("\n".join(problems))


def _client(settings: Mapping[str, str | int | float | bool]) -> AdminClient:
    # librdkafka prints twenty lines a second while no broker answers; our error says it once.
    return AdminClient({"log_level": 2, **settings})


def _count_problems(wanted: Mapping[str, AnyTopic], found: Mapping[str, TopicMetadata]) -> list[str]:
    problems = []
    for name, topic in wanted.items():
        if name not in found:
            problems.append(f"topic {name} does not exist; run `freshtrack topics create`")
        elif len(found[name].partitions) != topic.partitions:
            problems.append(f"topic {name}: {_other_count(name, len(found[name].partitions), topic.partitions)}")
    return problems


def _other_count(name: str, found: int, wanted: int) -> str:
    return (
        f"it has {found} partitions, declared are {wanted}; partitions are not added, because keys would move:"
        f" copy what you need from {name}, delete it and run `freshtrack topics create`,"
        f" or declare {found} partitions in schemas/topics.py for it and every topic that it meets"
    )


def _existing(client: AdminClient, time_limit_s: float) -> dict[str, TopicMetadata]:
    try:
        return client.list_topics(timeout=time_limit_s).topics
    except KafkaException as error:
        raise BrokerUnreachableError(
            f"no Kafka broker answered within {time_limit_s:g} s ({_reason(error)}); start one, or set"
            " KAFKA_BOOTSTRAP_SERVERS to its address"
        ) from error


def _once_known(client: AdminClient, names: Iterable[str], time_limit_s: float) -> dict[str, TopicMetadata]:
    """What exists, once all `names` do: a broker may answer for a moment as if a new topic were not there."""
    deadline = monotonic() + time_limit_s
    while True:
        found = _existing(client, time_limit_s)
        missing = [name for name in names if name not in found]
        if not missing:
            return found
        if monotonic() > deadline:
            raise TopicError(
                f"{', '.join(missing)} were made, but the broker does not show them after {time_limit_s:g} s;"
                " look at its log and run `freshtrack topics create` again"
            )
        sleep(0.05)


def _create(
    client: AdminClient, topics: Mapping[str, AnyTopic], replication_factor: int, time_limit_s: float
) -> set[str]:
    if not topics:
        return set()
    futures: dict[str, Future[None]] = client.create_topics(
        [NewTopic(name, topic.partitions, replication_factor, config=topic.config) for name, topic in topics.items()],
        operation_timeout=time_limit_s,
    )
    made = set()
    for name, future in futures.items():
        try:
            future.result(time_limit_s)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        else:
            made.add(name)
    return made


def _differences(
    client: AdminClient, topics: Mapping[str, AnyTopic], time_limit_s: float
) -> dict[str, dict[str, tuple[str | None, str]]]:
    """By topic and setting: (value at the broker, value declared), only where they differ."""
    if not topics:
        return {}
    resources = {name: ConfigResource(ResourceType.TOPIC, name) for name in topics}
    futures = client.describe_configs(list(resources.values()))
    differing: dict[str, dict[str, tuple[str | None, str]]] = {}
    for name, topic in topics.items():
        entries = futures[resources[name]].result(time_limit_s)
        values = {key: entries[key].value if key in entries else None for key in topic.config}
        differs = {key: (values[key], want) for key, want in topic.config.items() if values[key] != want}
        if differs:
            differing[name] = differs
    return differing


def _alter(client: AdminClient, topics: Mapping[str, AnyTopic], time_limit_s: float) -> dict[str, str]:
    """Set the declared settings, and only them: what an operator added stays. Returns what was set, by topic."""
    differing = _differences(client, topics, time_limit_s)
    if not differing:
        return {}
    resources = [
        ConfigResource(
            ResourceType.TOPIC,
            name,
            incremental_configs=[
                ConfigEntry(key, want, incremental_operation=AlterConfigOpType.SET)
                for key, (_, want) in entries.items()
            ],
        )
        for name, entries in differing.items()
    ]
    for future in client.incremental_alter_configs(resources).values():
        future.result(time_limit_s)
    return {
        name: ", ".join(f"{key}: {now} → {want}" for key, (now, want) in entries.items())
        for name, entries in differing.items()
    }


def _reason(error: KafkaException) -> str:
    return str(error.args[0].str()) if error.args else str(error)
