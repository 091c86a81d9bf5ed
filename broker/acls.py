"""Access rights at the broker, generated from "one writer a topic": a process writes its topics and no other's."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

from broker.partition_counts import GROWING
from schemas.processes import READS, WORKERS, Process, writers
from schemas.topics import TOPICS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from confluent_kafka.admin import AdminClient

_READ = ("READ", "DESCRIBE")
_WRITE = ("WRITE", "DESCRIBE")
# A worker makes the changelogs of its tables, checks how long they keep deletions, and reads and writes them.
_OWN = ("READ", "WRITE", "DESCRIBE", "CREATE", "DESCRIBE_CONFIGS", "ALTER_CONFIGS")


class Acl(NamedTuple):
    """What a process may do with a topic or group; `prefixed`: with all whose names begin with `name`."""

    process: Process
    operations: tuple[str, ...]
    kind: str
    name: str
    prefixed: bool = False


def acls(prefix: str = "") -> Iterator[Acl]:
    """The rights of every process; `prefix` stands before every topic and group, as `KAFKA_TOPIC_PREFIX` says."""
    for topic in TOPICS:
        for process in writers(topic):
            yield Acl(process, _WRITE, "topic", prefix + topic.name)
    for process, topics in READS.items():
        for topic in topics:
            yield Acl(process, _READ, "topic", prefix + topic.name)
    # It joins no group, but its client asks for the one that it names.
    yield Acl(Process.API, ("READ", "DESCRIBE"), "group", prefix + Process.API)
    # Who may not see that topics are growing would start in the middle of it.
    for process in (Process.PRODUCER, *WORKERS):
        yield Acl(process, ("DESCRIBE",), "topic", prefix + GROWING)
    for worker in WORKERS:
        # At its start it looks whether every topic is there, with as many partitions as those that it meets.
        for topic in TOPICS:
            yield Acl(worker, ("DESCRIBE",), "topic", prefix + topic.name)
        yield Acl(worker, ("READ", "DESCRIBE"), "group", prefix + worker)
        # The changelogs are named GROUP-TABLE-changelog.
        yield Acl(worker, _OWN, "topic", f"{prefix}{worker}-", prefixed=True)


def principal(process: Process, before: str) -> str:
    """The name at the broker: the user name of SASL, or what the broker makes of a certificate's subject."""
    return f"User:{before}{process}"


def commands(bootstrap: str, *, prefix: str = "", before: str = "") -> Iterator[str]:
    """A line for the shell for each right, for Kafka's own tool; `--command-config admin.properties` says who asks."""
    for acl in acls(prefix):
        operations = " ".join(f"--operation {operation.title().replace('_', '')}" for operation in acl.operations)
        pattern = " --resource-pattern-type prefixed" if acl.prefixed else ""
        yield (
            f"kafka-acls.sh --bootstrap-server {bootstrap} --command-config admin.properties --add --allow-principal"
            f" {principal(acl.process, before)} {operations} --{acl.kind} {acl.name}{pattern}"
        )


def apply(admin: AdminClient, *, prefix: str = "", before: str = "", time_limit_s: float = 30.0) -> int:
    """Add every right at the broker; those that are there already stay. Raises KafkaException."""
    bindings = (
        AclBinding(
            ResourceType[acl.kind.upper()],
            acl.name,
            ResourcePatternType.PREFIXED if acl.prefixed else ResourcePatternType.LITERAL,
            principal(acl.process, before),
            "*",
            AclOperation[operation],
            AclPermissionType.ALLOW,
        )
        for acl in acls(prefix)
        for operation in acl.operations
    )
    # Who reads and writes a topic may describe it once.
    wanted = list(dict.fromkeys(bindings))
    for future in admin.create_acls(wanted, request_timeout=time_limit_s).values():
        future.result(time_limit_s)
    return len(wanted)
