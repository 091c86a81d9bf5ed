"""The ledger: what is known of each SMS request, in a table beside its lane's partition."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.consumer import Batch


class Standing(IntEnum):
    """Where a request stands. From SENDING on the provider may have it."""

    NEW = 0
    SENDING = 1
    WAITING = 2
    SENT = 3
    CLOSED = 4


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One request. `fence` counts its changes: of two versions that recovery meets, the later one wins."""

    fence: int = 0
    standing: Standing = Standing.NEW
    attempt: int = 0
    provider_message_id: str = ""

    def moved(self, standing: Standing, attempt: int, provider_message_id: str = "") -> Entry:
        return Entry(self.fence + 1, standing, attempt, provider_message_id)

    @property
    def settled(self) -> bool:
        return self.standing in (Standing.SENT, Standing.CLOSED)

    def may_try(self, attempts_made: int) -> bool:
        """Whether a lane record that has `attempts_made` behind it is the one to act on.

        A record that is read again after its retry was scheduled has fewer than the ledger: the retry will act.
        """
        if self.settled:
            return False
        return self.standing is Standing.SENDING or self.attempt <= attempts_made


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class _Fence(msgspec.Struct, array_like=True):
    """The first element of an entry, and of a timer, which lies in the same app; the rest is not decoded."""

    fence: int


_decode_fence = msgspec.msgpack.Decoder(_Fence).decode


def fence_of_entry(raw: bytes) -> int:
    """The fence of a stored value of the notifications app."""
    return _decode_fence(raw).fence


class Table(Protocol):
    def read(self, batch: Batch, key: bytes) -> bytes | None: ...
    async def write(self, batch: Batch, items: Mapping[bytes, bytes | None], *, durable: bool = False) -> None: ...


class Ledger:
    def __init__(self, table: Table) -> None:
        self._table = table

    def read(self, batch: Batch, request_id: str) -> Entry:
        raw = self._table.read(batch, request_id.encode())
        return Entry() if raw is None else _decode(raw)

    async def write(self, batch: Batch, request_id: str, entry: Entry) -> None:
        await self._table.write(batch, {request_id.encode(): _encode(entry)})

    async def write_durably(self, batch: Batch, request_id: str, entry: Entry) -> None:
        """Returns when another worker would find the entry, should this one be killed in the next moment."""
        await self._table.write(batch, {request_id.encode(): _encode(entry)}, durable=True)
