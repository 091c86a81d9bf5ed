"""What a flow asks of the engine, so that a test can stand in for it: tables, partitions, configuration, publishing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from streams.engine.publish import Outgoing

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

T_co = TypeVar("T_co", covariant=True)

Publish: TypeAlias = Callable[[Sequence[Outgoing]], Awaitable[None]]
"""Sends records in order per partition; returns when the broker has all of them, or raises PublishError."""

Clock: TypeAlias = Callable[[], int]
"""Milliseconds since 1970 UTC."""


class Slot(Protocol):
    """A partition in an epoch: a `Batch`, or what a table's `owned()` gives."""

    @property
    def partition(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    def still_ours(self) -> bool: ...


class Rows(Protocol):
    """A table of bytes in a partition; a key that was never written reads as None, writing None deletes."""

    def read(self, slot: Slot, key: bytes) -> bytes | None: ...
    async def write(self, slot: Slot, items: Mapping[bytes, bytes | None], *, durable: bool = False) -> None:
        """With `durable` it returns when another worker would find it, should this one be killed the next moment."""


class Table(Rows, Protocol):
    """A table that also tells which partitions are ours, and all that lies in one."""

    def owned(self) -> Sequence[Slot]: ...
    def at_work(self) -> AbstractContextManager[None]: ...
    def scan(self, slot: Slot) -> Iterator[tuple[bytes, bytes]]: ...
    async def delete_unchanged(self, slot: Slot, judged: Mapping[bytes, bytes]) -> int:
        """Delete the rows whose values are still the `judged` ones, and none that was written since."""


class Entries(Protocol[T_co]):
    """A configuration topic in memory; `version` changes whenever one of its entries does."""

    @property
    def version(self) -> int: ...
    def get(self, entry_id: str) -> T_co | None: ...
    def values(self) -> Iterable[T_co]: ...
