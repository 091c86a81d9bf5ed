"""Planted bugs: changes of single lines of the engine, made in memory, each of which the simulator must find.

A mutation replaces a piece of a function's source, which must stand there exactly once (indented as if the function
stood at the top of its module), and runs the changed function in its place. When the engine changes, so must this
list: a piece that is no longer there fails the test.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Mutation(NamedTuple):
    """`where`: module and qualified name of the function, with a colon between; `old` becomes `new`."""

    name: str
    where: str
    old: str
    new: str
    room: str = "engine"


class MutationOutOfDate(AssertionError):  # noqa: N818
    """The engine has changed: the piece that was to be replaced is not there, or more than once."""


@contextlib.contextmanager
def planted(mutation: Mutation) -> Iterator[None]:
    """The engine has this bug while the context is open."""
    module_name, _, path = mutation.where.partition(":")
    module = importlib.import_module(f"streams.{mutation.room}.{module_name}")
    *owners, name = path.split(".")
    owner = module
    for part in owners:
        owner = getattr(owner, part)
    found = inspect.getattr_static(owner, name)
    function: Any = found.fget if isinstance(found, property) else inspect.unwrap(getattr(owner, name))
    source = textwrap.dedent(inspect.getsource(function))
    if source.count(mutation.old) != 1:
        raise MutationOutOfDate(f"{mutation.name}: {mutation.old!r} stands {source.count(mutation.old)} times")
    scope = dict(vars(module))
    changed = "from __future__ import annotations\n" + source.replace(mutation.old, mutation.new)
    exec(compile(changed, f"<{mutation.name}>", "exec"), scope)
    changed_function = scope[name].fget if isinstance(found, property) else inspect.unwrap(scope[name])
    # Modules that imported the function by its name have the bug too.
    sound = function.__code__
    function.__code__ = changed_function.__code__
    try:
        yield
    finally:
        function.__code__ = sound


MUTATIONS = (
    Mutation(
        "returned batch leaves what was fetched behind it (defect 1)",
        "partition:Partition._read_from",
        "self._records: Sequence[Record] = ()\n    self._index = 0",
        "self._records = getattr(self, '_records', ())\n    self._index = getattr(self, '_index', 0)",
    ),
    Mutation(
        "records are assigned while the position is about to be set back (defect 1)",
        "partition:Partition.take",
        "if self.must_seek:\n        return False",
        "self.must_seek, self.position = False, fetched.position",
    ),
    Mutation(
        "a fetch under way does not end before a seek",
        "delivery:Delivery._seek",
        "if self._fetching is not None:",
        "if False:",
    ),
    Mutation(
        "a topic that lost its end is believed (defect 3)",
        "placement:start_of",
        "if found.committed > found.end:",
        "if False:",
    ),
    Mutation(
        "a completed range moves the offset over unfinished ones",
        "partition:Partition.complete",
        "while self._ranges and self._ranges[0].state is RangeState.COMPLETED:",
        "while self._ranges:",
    ),
    Mutation(
        "a returned range may still be completed",
        "partition:Partition.complete",
        "if not taken.is_assigned:\n        return False",
        "if not taken.is_assigned:\n        self.completed = max(self.completed, taken.end)",
    ),
    Mutation(
        "returning reads on from what was assigned",
        "partition:Partition.return_all",
        "self._read_from(self.completed)",
        "self._read_from(self.assigned)",
    ),
    Mutation(
        "a seek that was overtaken counts",
        "partition:Partition.sought",
        "if offset == self.position:\n        self.must_seek = False",
        "self.must_seek = False",
    ),
    Mutation(
        "commits do not wait for sends",
        "commits:Commits.commit",
        "await self._sends.all_through()",
        "pass",
    ),
    Mutation(
        "commits do not look whether the assignment changed",
        "commits:Commits.commit",
        "if self._partitions() is not partitions:",
        "if False:",
    ),
    Mutation(
        "failed sends are forgotten",
        "sends:Sends._done",
        "self.fail(error)",
        "pass",
    ),
    Mutation(
        "revocation waits for sends without a limit (defect 5)",
        "bounded:within",
        "await asyncio.wait([task], timeout=limit_s)",
        "await asyncio.wait([task])",
    ),
    Mutation(
        "a broken recovery step is not repeated (defect 2)",
        "bounded:insist",
        "if time.monotonic() >= give_up:",
        "if True:",
    ),
    Mutation(
        "the local store's offset moves over gaps",
        "tables:BulkTable._answered",
        "complete = first == (0 if contained is None else contained + 1)",
        "complete = True",
    ),
    Mutation(
        "the local store is not read as the changelog has it: lower applied offsets win",
        "applied_offset:newest_by_applied_offset",
        "applied_offset_of(known) > applied_offset_of(value)",
        "False",
    ),
    Mutation(
        "the table's lock is gone",
        "tables:BulkTable.write",
        "async with self._one_at_a_time[slot.partition]:",
        "if True:",
    ),
    Mutation(
        "a table is written by whoever still has a batch",
        "tables:BulkTable._check",
        "if not slot.still_ours():",
        "if False:",
    ),
    Mutation(
        "cancelled timers are only forgotten in memory (defect 11)",
        "timers:Timers.cancel",
        "await self._table.write(slot, gone)",
        "pass",
    ),
    Mutation(
        "the local store is written before the changelog (defect 4)",
        "tables:BulkTable._put",
        "self._ahead.add(partition, run)",
        "self._ahead.add(partition, run)\n        self.store.apply(partition, run)",
    ),
    Mutation(
        "a snapshot is deleted whatever was written since (defect 6)",
        "tables:BulkTable.delete_unchanged",
        " if self.read(slot, key) == value]",
        "]",
    ),
    Mutation(
        "a timer fires when it is nearly due",
        "timer_queue:TimerQueue.take",
        "self._heap[0][0] <= now_ms",
        "self._heap[0][0] <= now_ms + 3_000",
    ),
    Mutation(
        "reads do not see what the changelog has not yet",
        "tables:BulkTable.read",
        "return self._ahead.read(self.store, slot.partition, key)",
        "return self.store.read(slot.partition, key)",
    ),
    Mutation(
        "fired timers stay in the table",
        "timers:Timers._fire",
        "self._fired.setdefault(timer.partition, {})[timer.timer_id] = timer.raw",
        "pass",
    ),
    Mutation(
        "timers of a new assignment are not read",
        "timers:Timers._follow_assignment",
        "for timer_id, raw in self._table.scan(slot):",
        "for timer_id, raw in ():",
    ),
    Mutation(
        "timers that could not be published are dropped (defect 7)",
        "timers:Timers._fire",
        "if self._pending.get(timer.timer_id) is timer:",
        "if False:",
    ),
    Mutation(
        "a batch counts as ours whoever has the partition by now (defect 8)",
        "consumer:Batch.still_ours",
        "self._range.is_assigned and self._member.in_contact()",
        "True",
    ),
    Mutation(
        "an epoch outlives a returned batch",
        "group_member:GroupMember._renew",
        "epoch = self._epochs[number] = next(self._numbers)",
        "epoch = self._epochs[number] = self._epochs.get(number, next(self._numbers))",
    ),
    Mutation(
        "partitions are placed before the tables are restored",
        "recovery:restore",
        "behind = {tp for tp in tps if positions[tp] < found[tp].end}",
        "behind = set()",
    ),
    Mutation(
        "recovery reads from the first new record of the changelog only",
        "placement:restore_from",
        "return max(stored + 1, found.first)",
        "return max(stored + 2, found.first)",
    ),
    Mutation(
        "reading begins at the end where nothing is committed (defect 3)",
        "placement:start_of",
        "return found.first",
        "return found.end",
    ),
    Mutation(
        "retention's losses are not passed over (defect 3)",
        "placement:start_of",
        "return max(found.committed, found.first)",
        "return found.committed",
    ),
    Mutation(
        "the last commit before partitions go is left out, and what hangs in it is not abandoned",
        "group_member:GroupMember.revoked",
        "self.client.abandon_commit()\n    await self.end()",
        "pass",
    ),
)
