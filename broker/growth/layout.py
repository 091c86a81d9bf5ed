"""What must be known of workers and their tables to move them: which topics they read, where each row belongs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KeyOf: TypeAlias = "Callable[[bytes, bytes], bytes | None]"
"""The key of the records beside which a row lies, given the row's key and value; None where they do not tell.

A row that does not tell goes to every partition that its records may come to: only one of them is ever asked for it.
"""


class TableLayout(msgspec.Struct, frozen=True):
    """`counts_in` is the topic whose offset each value contains, at `offset_at` of its array; None: versions only."""

    name: str
    key_of: KeyOf
    counts_in: str | None = None
    offset_at: int = 0


class WorkerLayout(msgspec.Struct, frozen=True):
    """A worker with tables: the topics that its group reads, and those that it writes by partition number."""

    name: str
    reads: tuple[str, ...]
    tables: tuple[TableLayout, ...]
    writes: tuple[str, ...] = ()


class Layout(msgspec.Struct, frozen=True):
    """All that grows. `compacted` are those of the topics of which only the newest record of a key counts.

    `drained` has, by group, the topics that it must have read to their ends: it keeps its offsets elsewhere, so its
    unread records cannot be moved.
    """

    workers: tuple[WorkerLayout, ...]
    drained: Mapping[str, tuple[str, ...]]
    compacted: frozenset[str] = frozenset()

    @property
    def topics(self) -> list[str]:
        """Every topic that grows, without changelogs, once."""
        read = [name for worker in self.workers for name in (*worker.reads, *worker.writes)]
        others = [name for names in self.drained.values() for name in names]
        return list(dict.fromkeys([*read, *others]))

    @property
    def groups(self) -> list[str]:
        return [*(worker.name for worker in self.workers), *self.drained]


def changelog_of(worker: WorkerLayout, table: TableLayout) -> str:
    """Its plain name; Faust chose it."""
    return f"{worker.name}-{table.name}-changelog"
