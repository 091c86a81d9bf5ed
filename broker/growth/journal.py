"""What is known of a growth that is under way, in a topic of one partition that is there only while it is."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec
from confluent_kafka import Producer

from broker.growth.errors import GrowthError

if TYPE_CHECKING:
    from broker.growth.cluster import Cluster
    from broker.partition_counts import ClientSettings

PLAN, MOVED = b"plan", b"moved"


class Sum(msgspec.Struct, array_like=True):
    """Of the rows of one partition, in any order: how many, and the sum of their hashes."""

    rows: int = 0
    total: int = 0

    def add(self, key: bytes, value: bytes) -> None:
        self.rows += 1
        self.total = (self.total + int.from_bytes(blake2b(key + b"\0" + value, digest_size=7).digest())) % (1 << 56)


class Plan(msgspec.Struct, frozen=True):
    """Written before anything changes: the wanted count, and the former count of each topic that is to grow."""

    partitions: int
    former: dict[str, int]


class Moved(msgspec.Struct):
    """Written in the transaction that moves everything.

    `first`: by compacted topic and partition, the first offset that counts from now on. `sums`: what lies there.
    """

    first: dict[str, list[int]] = {}
    sums: dict[str, list[Sum]] = {}


class Journal:
    def __init__(self, cluster: Cluster, settings: ClientSettings, topic: str) -> None:
        self._cluster = cluster
        self._settings = settings
        self.topic = topic

    def read(self) -> tuple[Plan | None, Moved | None]:
        """What an earlier run has written; (None, None) if there was none, or it ended before it changed anything."""
        if self.topic not in self._cluster.counts():
            return None, None
        (end,) = self._cluster.ends(self.topic, 1)
        found = {m.key(): m.value() or b"" for m in self._cluster.read(self.topic, 0, 0, end)}
        plan = msgspec.json.decode(found[PLAN], type=Plan) if PLAN in found else None
        moved = msgspec.json.decode(found[MOVED], type=Moved) if MOVED in found else None
        return plan, moved

    def begin(self, plan: Plan) -> None:
        """From here on no worker starts."""
        if self.topic not in self._cluster.counts():
            self._cluster.create_topic(self.topic)
        producer = Producer({**self._settings, "enable.idempotence": True})
        producer.produce(self.topic, key=PLAN, value=msgspec.json.encode(plan))
        if producer.flush(30):
            raise GrowthError(
                f"the plan was not written to {self.topic} within 30 s; nothing was changed, run it again"
            )

    def end(self) -> None:
        """Workers start again."""
        if self.topic in self._cluster.counts():
            self._cluster.delete_topic(self.topic)
