"""`topics grow N`: more partitions for the topics of a deployment, with their unread records and the workers' state.

**Why not simply add partitions.** A key's records go to partition `murmur2(key) mod count`. With another count most
keys have another partition, where their worker finds no state of theirs; and what it has not read yet lies where
nobody with their state reads it. The values of tables also contain offsets of their former partition.

**What moves.** Topics keep their names, ids and history, and get partitions. At the end of the right partition are
appended: the records that the group of a worker with tables has not read (in their order, with time and headers), and
all rows of its tables, timers among them, as recovery would find them. An offset in a row becomes that of the last
copied record that the row contains, else that before the first one. A row that does not tell its key goes to every
partition that a key of its former one may have now. Groups continue where the copies begin. Of a compacted topic that a
group reads, the newest record of each key moves. The recorder keeps its offsets in SQL: it must have read everything.

**All or nothing.** Copies, rows, the groups' offsets and a note of it (`Moved`) are one Kafka transaction.

1. Refuse while a group has members, while the recorder is behind, while anybody writes.
2. Write the plan to the topic `topics-growing`. While that topic is there, no worker starts.
3. Add the partitions.
4. The transaction. Before it commits: no group has members, and nobody else wrote to what was moved.
5. Read the rows back and compare counts and checksums with the note.
6. Delete what lies before the moved rows, in changelogs and compacted topics. A local store that ends there finds that
   records are missing behind what it knows, and is dropped; so is one in any data folder that appears later.
7. Delete the topic `topics-growing`.

**After a crash** the same command reads the plan and goes on: without the note it repeats 3 and 4 (the next
transaction aborts the one left open; the former counts are in the plan), with it 5 to 7. Each of these may run twice.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from broker.growth.cluster import Cluster
from broker.growth.errors import GrowthError
from broker.growth.journal import Journal, Plan, Sum
from broker.growth.layout import changelog_of
from broker.growth.moving import Mover
from broker.growth.transaction import Transaction
from broker.partition_counts import GROWING

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.growth.journal import Moved
    from broker.growth.layout import Layout
    from broker.partition_counts import ClientSettings

QUIET_S = 2.0


def grow(
    settings: ClientSettings, layout: Layout, partitions: int, *, prefix: str = "", tell: Callable[[str], None]
) -> None:
    """Bring everything in `layout` that has fewer to `partitions`; `tell` is given a sentence at each step.

    Raises GrowthError, which says what to do, and KafkaException.
    """
    cluster = Cluster(settings)
    try:
        _Growth(cluster, settings, layout, partitions, prefix, tell).run()
    finally:
        cluster.close()


class _Growth:
    def __init__(
        self,
        cluster: Cluster,
        settings: ClientSettings,
        layout: Layout,
        partitions: int,
        prefix: str,
        tell: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._layout = layout
        self._partitions = partitions
        self._prefix = prefix
        self._tell = tell
        self._groups = [prefix + name for name in layout.groups]
        self._journal = Journal(cluster, settings, prefix + GROWING)
        self._settings = settings

    def run(self) -> None:
        self._cluster.refuse_active(self._groups)
        # Ends what a run before this one left open, so that the journal is complete.
        transaction = Transaction(self._settings, f"{self._prefix}topics-grow")
        plan, moved = self._journal.read()
        if plan is not None and plan.partitions != self._partitions:
            raise GrowthError(
                f"growing to {plan.partitions} did not reach its end: run `topics grow {plan.partitions}` first"
            )
        if plan is None:
            plan = self._plan()
            if not plan.former:
                # A run that died before it wrote its plan left the topic that keeps workers from starting.
                self._journal.end()
                self._tell(f"everything has {self._partitions} partitions or more")
                return
            self._check_read_by_all(plan)
            self._check_quiet(plan)
            self._journal.begin(plan)
            self._tell(f"planned: {len(plan.former)} topics get {self._partitions} partitions")
        if moved is None:
            counts = self._cluster.counts()
            self._cluster.add_partitions([t for t in plan.former if counts[t] < self._partitions], self._partitions)
            self._tell("partitions added")
            moved = self._move(transaction, plan)
        self._verify(moved)
        for topic, firsts in moved.first.items():
            self._cluster.delete_before(topic, dict(enumerate(firsts)))
            self._tell(f"{topic}: what was moved is deleted where it was")
        self._journal.end()
        self._tell(f"done: {self._partitions} partitions")

    def _plan(self) -> Plan:
        changelogs = [changelog_of(worker, table) for worker in self._layout.workers for table in worker.tables]
        counts = self._cluster.counts()
        names = [self._prefix + name for name in (*self._layout.topics, *changelogs)]
        if missing := [name for name in names[: len(self._layout.topics)] if name not in counts]:
            raise GrowthError(f"{', '.join(missing)} do not exist; run `freshtrack topics create`")
        # A changelog that is not there is made by its worker, with the right count.
        former = {name: counts[name] for name in names if counts.get(name, self._partitions) < self._partitions}
        return Plan(self._partitions, former)

    def _check_read_by_all(self, plan: Plan) -> None:
        for group, names in self._layout.drained.items():
            for topic in (self._prefix + name for name in names):
                if topic not in plan.former:
                    continue
                count = plan.former[topic]
                committed, _ = self._cluster.committed(self._prefix + group, topic, count)
                firsts, ends = self._cluster.ends(topic, count, first=True), self._cluster.ends(topic, count)
                start = [max(firsts[p], committed[p] or 0) for p in range(count)]
                # Offsets alone tell nothing: behind the last record may lie the marker of a transaction.
                if any(True for p in range(count) for _ in self._cluster.read(topic, p, start[p], ends[p])):
                    raise GrowthError(
                        f"worker {group} has not read all of {topic}: run that worker alone until it has,"
                        " stop it and run `topics grow` again"
                    )

    def _check_quiet(self, plan: Plan) -> None:
        """A producer that goes on writing would use the former count for minutes."""
        before = {topic: self._cluster.ends(topic, count) for topic, count in plan.former.items()}
        time.sleep(QUIET_S)
        for topic, ends in before.items():
            self._refuse_writers(topic, ends, self._cluster.ends(topic, plan.former[topic]))

    def _refuse_writers(self, topic: str, expected: list[int], found: list[int]) -> None:
        if expected != found:
            raise GrowthError(
                f"somebody writes to {topic}; stop whatever does (api, relay, mqtt, workers), then run `topics grow`"
                " again"
            )

    def _move(self, transaction: Transaction, plan: Plan) -> Moved:
        mover = Mover(self._cluster, transaction, plan, self._prefix, self._layout.compacted)
        transaction.begin()
        try:
            for worker in self._layout.workers:
                mover.worker(worker)
                self._tell(f"worker {worker.name}: moved, not committed yet")
            mover.finish(self._journal.topic)
            for topic, base in mover.bases.items():
                expected = [end + transaction.sent[topic, number] for number, end in enumerate(base)]
                self._refuse_writers(topic, expected, self._cluster.ends(topic, plan.partitions))
            self._cluster.refuse_active(self._groups)
        except GrowthError:
            transaction.abort()
            raise
        transaction.commit()
        rows = sum(found.rows for sums in mover.moved.sums.values() for found in sums)
        self._tell(f"moved: {rows} rows, {mover.unread} unread records")
        return mover.moved

    def _verify(self, moved: Moved) -> None:
        for topic, wanted in moved.sums.items():
            ends = self._cluster.ends(topic, len(wanted))
            found = [Sum() for _ in wanted]
            for number, first in enumerate(moved.first[topic]):
                for message in self._cluster.read(topic, number, first, ends[number]):
                    found[number].add(message.key() or b"", message.value() or b"")
            if found != wanted:
                raise GrowthError(
                    f"{topic} does not contain what was moved: wanted {msgspec.to_builtins(wanted)}, found"
                    f" {msgspec.to_builtins(found)}; nothing was deleted, the former rows lie before offsets"
                    f" {moved.first[topic]}. Start no worker, keep the brokers' logs"
                )
            self._tell(f"{topic}: {sum(one.rows for one in found)} rows, as moved")
