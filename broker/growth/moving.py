"""Moves records and rows to the partitions that their keys have among more of them, inside one transaction."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from math import gcd
from typing import TYPE_CHECKING, Any

import msgspec
from aiokafka.partitioner import murmur2

from broker.growth.journal import MOVED, Moved, Sum
from broker.growth.layout import changelog_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from confluent_kafka import Message

    from broker.growth.cluster import Cluster
    from broker.growth.journal import Plan
    from broker.growth.layout import TableLayout, WorkerLayout
    from broker.growth.transaction import Transaction

SEAL = b"freshtrack topics grow"
"""The last record before the moved ones: a local store that knows all before it lacks it, so that it is dropped."""

_decode = msgspec.msgpack.Decoder(list[Any]).decode
_encode = msgspec.msgpack.Encoder().encode


def partition_of(key: bytes, partitions: int) -> int:
    """Where every producer puts a key: all of ours use murmur2, as Java's clients do."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


class Copied:
    """Where the unread records of a topic went: what an offset of a former partition means in a new one."""

    def __init__(self, base: list[int]) -> None:
        self.base = base
        self._places: defaultdict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)

    def note(self, former: int, now: int, offset: int, new_offset: int) -> None:
        self._places[former, now].append((offset, new_offset))

    def translated(self, former: int, now: int, applied: int) -> int:
        """What contains all of `former` up to `applied` contains all of `now` up to here, of the same keys."""
        places = self._places[former, now]
        number = bisect_right(places, applied, key=lambda place: place[0])
        return places[number - 1][1] if number else self.base[now] - 1


class Mover:
    """Of one plan. Everything is read as it is before the transaction, whatever an earlier run left aborted."""

    def __init__(
        self, cluster: Cluster, transaction: Transaction, plan: Plan, prefix: str, compacted: frozenset[str]
    ) -> None:
        self._cluster = cluster
        self._transaction = transaction
        self._plan = plan
        self._prefix = prefix
        self._compacted = compacted
        self.moved = Moved()
        self.bases: dict[str, list[int]] = {}
        self.unread = 0

    def worker(self, worker: WorkerLayout) -> None:
        """Its unread records, then its tables, whose offsets follow the records."""
        copied = {name: self._topic(worker, name) for name in worker.reads if self._grows(name)}
        for table in worker.tables:
            if self._grows(changelog_of(worker, table)):
                self._table(worker, table, copied.get(table.counts_in or ""))

    def _grows(self, name: str) -> bool:
        return self._prefix + name in self._plan.former

    def _base(self, topic: str) -> list[int]:
        """Where each partition ended before anything was moved there."""
        return self.bases.setdefault(topic, self._cluster.ends(topic, self._plan.partitions))

    def _topic(self, worker: WorkerLayout, name: str) -> Copied:
        topic, count = self._prefix + name, self._plan.partitions
        compacted = name in self._compacted
        base = self._base(topic)
        copied = Copied(base)
        committed, member = self._cluster.committed(self._prefix + worker.name, topic, count)
        firsts = self._cluster.ends(topic, count, first=True)
        start = [max(firsts[p], committed[p] or 0) for p in range(count)]
        read_on = list(base)
        if compacted:
            # All newest records move. The group has read the first of them, and reads on behind those.
            newest = list(self._in_order(topic, lambda p: self._newest(topic, p, firsts[p], base[p])))
            self._copy(topic, ((p, m) for p, m in newest if (m.offset() or 0) < start[p]), copied)
            read_on = [base[q] + self._transaction.sent[topic, q] for q in range(count)]
            self._copy(topic, ((p, m) for p, m in newest if (m.offset() or 0) >= start[p]), copied)
            self.moved.first[topic] = base
        else:
            unread = self._in_order(topic, lambda p: self._cluster.read(topic, p, start[p], base[p]))
            self.unread += self._copy(topic, unread, copied)
        self._transaction.place(topic, read_on, member)
        return copied

    def _in_order(self, topic: str, read: Callable[[int], Iterable[Message]]) -> Iterator[tuple[int, Message]]:
        """Records with their partitions, those of a key in the order in which they were sent.

        After a run that died once the partitions were added, producers may have used the new count already. What lies
        where its key had not been is younger than what lies where it had.
        """
        former, younger = self._plan.former[topic], []
        for number in range(self._plan.partitions):
            for message in read(number):
                key = message.key()
                if key is None or partition_of(key, former) == number:
                    yield number, message
                else:
                    younger.append((number, message))
        yield from younger

    def _newest(self, topic: str, partition: int, first: int, end: int) -> Iterable[Message]:
        newest: dict[bytes | None, Message] = {}
        for message in self._cluster.read(topic, partition, first, end):
            newest.pop(message.key(), None)
            newest[message.key()] = message
        return newest.values()

    def _copy(self, topic: str, records: Iterable[tuple[int, Message]], copied: Copied) -> int:
        count = 0
        for former, message in records:
            key, offset = message.key(), message.offset() or 0
            now = former if key is None else partition_of(key, self._plan.partitions)

            def arrived(new_offset: int, place: tuple[int, int, int] = (former, now, offset)) -> None:
                copied.note(*place, new_offset)

            self._transaction.send(topic, now, key, message.value(), like=message, arrived=arrived)
            count += 1
        self._transaction.flush()
        return count

    def _table(self, worker: WorkerLayout, table: TableLayout, copied: Copied | None) -> None:
        topic, partitions = self._prefix + changelog_of(worker, table), self._plan.partitions
        former, base = self._plan.former[topic], self._base(topic)
        for number in range(partitions):
            self._transaction.send(topic, number, SEAL, None)
        self._transaction.flush()
        self.moved.first[topic] = [end + 1 for end in base]
        sums = self.moved.sums[topic] = [Sum() for _ in range(partitions)]
        firsts = self._cluster.ends(topic, former, first=True)
        for number in range(former):
            for key, value in self._rows(topic, number, firsts[number], base[number]):
                for now in self._targets(table, former, number, key, value):
                    row = value if copied is None else _moved_row(table, value, copied, number, now)
                    self._transaction.send(topic, now, key, row)
                    sums[now].add(key, row)
        self._transaction.flush()

    def _rows(self, topic: str, partition: int, first: int, end: int) -> Iterator[tuple[bytes, bytes]]:
        """The rows as recovery would find them: of two values of a key the one that contains more counts."""
        rows: dict[bytes, bytes] = {}
        for message in self._cluster.read(topic, partition, first, end):
            key, value = message.key() or b"", message.value()
            if value is None:
                rows.pop(key, None)
            elif key not in rows or _decode(rows[key])[0] <= _decode(value)[0]:
                rows[key] = value
        return iter(rows.items())

    def _targets(self, table: TableLayout, former: int, number: int, key: bytes, value: bytes) -> Iterable[int]:
        home = table.key_of(key, value)
        if home is not None:
            return (partition_of(home, self._plan.partitions),)
        step = gcd(former, self._plan.partitions)
        return range(number % step, self._plan.partitions, step)

    def finish(self, journal: str) -> None:
        self._transaction.send(journal, 0, MOVED, msgspec.json.encode(self.moved))
        self._transaction.flush()


def _moved_row(table: TableLayout, value: bytes, copied: Copied, former: int, now: int) -> bytes:
    row = _decode(value)
    row[table.offset_at] = copied.translated(former, now, row[table.offset_at])
    return _encode(row)
