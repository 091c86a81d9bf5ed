"""Moving unread records, over a topic in memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest
from confluent_kafka import Producer

from broker.growth.journal import Plan
from broker.growth.layout import WorkerLayout
from broker.growth.moving import Mover, partition_of
from broker.growth.transaction import producer_settings
from schemas.topics import READINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FORMER, WANTED = 2, 3
GROUP = "detection"


class Kept(NamedTuple):
    name: bytes
    place: int
    content: bytes

    def key(self) -> bytes:
        return self.name

    def value(self) -> bytes:
        return self.content

    def offset(self) -> int:
        return self.place


class Topic:
    """Stands in for cluster and transaction: what is sent gets the next offset at once."""

    def __init__(self) -> None:
        self.logs: list[list[Kept]] = [[] for _ in range(WANTED)]
        self.sent: Counter[tuple[str, int]] = Counter()
        self.placed: list[int] = []
        self.read_to: dict[int, int] = defaultdict(int)

    def add(self, partition: int, key: bytes, value: bytes) -> None:
        self.logs[partition].append(Kept(key, len(self.logs[partition]), value))

    def ends(self, _: str, partitions: int, *, first: bool = False) -> list[int]:
        return [0 if first else len(log) for log in self.logs[:partitions]]

    def read(self, _: str, partition: int, first: int, end: int) -> Iterator[Kept]:
        yield from self.logs[partition][first:end]

    def committed(self, _: str, __: str, partitions: int) -> tuple[list[int | None], object]:
        return [self.read_to.get(number) for number in range(partitions)], None

    def send(
        self,
        topic: str,
        partition: int,
        key: bytes,
        value: bytes,
        *,
        like: Kept | None = None,
        arrived: Callable[[int], None] | None = None,
    ) -> None:
        del like
        self.sent[topic, partition] += 1
        self.add(partition, key, value)
        if arrived is not None:
            arrived(len(self.logs[partition]) - 1)

    def flush(self) -> None:
        pass

    def place(self, _: str, offsets: list[int], __: object) -> None:
        self.placed = list(offsets)

    def delivered(self, key: bytes) -> list[bytes]:
        """What the group gets of a key, from where it was placed on."""
        (home,) = {
            number for number, log in enumerate(self.logs) for kept in log[self.placed[number] :] if kept.name == key
        }
        return [kept.content for kept in self.logs[home][self.placed[home] :] if kept.name == key]


def key_that_moves(former: int, now: int) -> bytes:
    keys = (b"unit-%d" % number for number in count())
    return next(key for key in keys if (partition_of(key, FORMER), partition_of(key, WANTED)) == (former, now))


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("now", [0, 2])
def test_what_was_sent_between_a_run_that_died_and_the_next_one_is_neither_lost_nor_put_before_older_records(
    now: int, compacted: bool
) -> None:
    topic, key = Topic(), key_that_moves(1, now)
    topic.add(1, key, b"read")
    topic.add(1, key, b"older")
    topic.read_to[1] = 1
    # The partitions are there already, so that the producer uses them.
    topic.add(now, key, b"younger")
    plan = Plan(WANTED, {"readings": FORMER})
    kept = frozenset({"readings"}) if compacted else frozenset[str]()
    mover = Mover(cast("Any", topic), cast("Any", topic), plan, "", kept)
    mover.worker(WorkerLayout(GROUP, reads=("readings",), tables=()))
    assert topic.delivered(key) == [b"older", b"younger"]


def test_the_largest_record_that_a_topic_takes_can_be_moved() -> None:
    producer = Producer({**producer_settings({}), "bootstrap.servers": "127.0.0.1:9"})
    producer.produce(READINGS.name, bytes(READINGS.max_message_bytes), b"unit-1")
    producer.purge()
