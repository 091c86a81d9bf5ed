"""Topics at the broker: made and altered from their declarations.

Partitions are never just added to a topic that exists: keys would move to other partitions, and with them the order of
a unit's readings and the state that a worker keeps for it. `topics grow` moves those too.
"""

from __future__ import annotations

from enum import StrEnum
from time import monotonic, sleep
from typing import TYPE_CHECKING

import msgspec
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from broker.partition_counts import (
    DECLARED,
    DEFAULT_TIME_LIMIT_S,
    ClientSettings,
    PartitionCounts,
    TopicError,
    client,
    count_problems,
    existing,
)
from schemas.topics import TOPICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from concurrent.futures import Future

    from confluent_kafka.admin import AdminClient, TopicMetadata

    from schemas.topic import AnyTopic

# One broker can keep one copy only; more copies come by the option.
DEFAULT_REPLICATION_FACTOR = 1


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
    settings: ClientSettings,
    *,
    prefix: str = "",
    replication_factor: int = DEFAULT_REPLICATION_FACTOR,
    partitions: PartitionCounts = DECLARED,
    topics: Iterable[AnyTopic] = TOPICS,
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
) -> list[Change]:
    """Make what is missing and set what differs; a second run changes nothing.

    A topic with another count than `partitions` asks for is left untouched and reported as REFUSED.
    Raises BrokerUnreachableError, TopicError, and KafkaException for what the broker refuses.
    """
    admin = client(settings)
    wanted = {prefix + topic.name: topic for topic in topics}
    there = existing(admin, time_limit_s)
    counts = {n: partitions.wanted(t, there, prefix) for n, t in wanted.items() if n not in there}
    new = [NewTopic(n, count, replication_factor, config=wanted[n].config) for n, count in counts.items()]
    # A process beside this one may be making the same topics: the broker tells which were first.
    made = _create(admin, new, time_limit_s)
    found = _once_known(admin, wanted, time_limit_s)
    altered = _alter(admin, {n: t for n, t in wanted.items() if n not in made}, time_limit_s)
    changes = []
    for name, topic in wanted.items():
        has, chosen = len(found[name].partitions), partitions.chosen(topic)
        if name in made:
            changes.append(Change(name, Did.CREATED, f"{has} partitions"))
        elif chosen not in {None, has}:
            changes.append(Change(name, Did.REFUSED, _other_count(has, chosen or 0)))
        elif name in altered:
            changes.append(Change(name, Did.ALTERED, altered[name]))
        else:
            changes.append(Change(name, Did.LEFT))
    return changes


def check_topics(
    settings: ClientSettings,
    *,
    prefix: str = "",
    topics: Iterable[AnyTopic] = TOPICS,
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
) -> list[str]:
    """What differs between the declarations and the broker, a sentence each; empty when nothing does."""
    admin = client(settings)
    wanted = {prefix + topic.name: topic for topic in topics}
    found = existing(admin, time_limit_s)
    problems = count_problems(wanted.values(), found, prefix)
    differing = _differences(admin, {n: t for n, t in wanted.items() if n in found}, time_limit_s)
    problems += [
        f"topic {name}: {', '.join(f'{key} is {now}, declared {want}' for key, (now, want) in entries.items())};"
        f" run `freshtrack topics create`"
        for name, entries in differing.items()
    ]
    return problems


def _other_count(found: int, wanted: int) -> str:
    if wanted > found:
        return (
            f"it has {found} partitions, asked for are {wanted}; keys would move: stop all processes and run"
            f" `freshtrack topics grow {wanted}`"
        )
    return f"it has {found} partitions, asked for are {wanted}; partitions cannot be taken away, keep {found}"


def _once_known(admin: AdminClient, names: Iterable[str], time_limit_s: float) -> dict[str, TopicMetadata]:
    """What exists, once all `names` do: a broker may answer for a moment as if a new topic were not there."""
    deadline = monotonic() + time_limit_s
    while True:
        found = existing(admin, time_limit_s)
        missing = [name for name in names if name not in found]
        if not missing:
            return found
        if monotonic() > deadline:
            raise TopicError(
                f"{', '.join(missing)} were made, but the broker does not show them after {time_limit_s:g} s;"
                " look at its log and run `freshtrack topics create` again"
            )
        sleep(0.05)


def _create(admin: AdminClient, topics: list[NewTopic], time_limit_s: float) -> set[str]:
    if not topics:
        return set()
    futures: dict[str, Future[None]] = admin.create_topics(topics, operation_timeout=time_limit_s)
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
    admin: AdminClient, topics: Mapping[str, AnyTopic], time_limit_s: float
) -> dict[str, dict[str, tuple[str | None, str]]]:
    """By topic and setting: (value at the broker, value declared), only where they differ."""
    if not topics:
        return {}
    resources = {name: ConfigResource(ResourceType.TOPIC, name) for name in topics}
    futures = admin.describe_configs(list(resources.values()))
    differing: dict[str, dict[str, tuple[str | None, str]]] = {}
    for name, topic in topics.items():
        entries = futures[resources[name]].result(time_limit_s)
        values = {key: entries[key].value if key in entries else None for key in topic.config}
        differs = {key: (values[key], want) for key, want in topic.config.items() if values[key] != want}
        if differs:
            differing[name] = differs
    return differing


def _alter(admin: AdminClient, topics: Mapping[str, AnyTopic], time_limit_s: float) -> dict[str, str]:
    """Set the declared settings, and only them: what an operator added stays. Returns what was set, by topic."""
    differing = _differences(admin, topics, time_limit_s)
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
    for future in admin.incremental_alter_configs(resources).values():
        future.result(time_limit_s)
    return {
        name: ", ".join(f"{key}: {now} → {want}" for key, (now, want) in entries.items())
        for name, entries in differing.items()
    }
