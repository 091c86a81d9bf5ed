"""The ledger: what is known of each mail, in a table beside its partition of `email-requests`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from domain.notification.request_state import RequestState, may_try
from schemas.topic import DAY_MS
from schemas.topics import EMAIL_REQUESTS

if TYPE_CHECKING:
    from schemas import messages as m
    from streams.engine.interfaces import Rows, Slot

# A day longer than the topic keeps a record that could be read again.
KEEP_MS = EMAIL_REQUESTS.retention_ms + DAY_MS


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One mail. `version` counts its changes: of two versions that recovery meets, the later one wins."""

    version: int = 0
    state: RequestState = RequestState.NEW
    attempt: int = 0
    redrives: int = 0
    changed_at_ms: int = 0
    begun_at_ms: int = 0
    """When it, or its newest redrive, was first looked at: from then on its deadline runs."""

    def moved(self, state: RequestState, attempt: int, redrives: int, now_ms: int) -> Entry:
        begun_at_ms = self.begun_at_ms if redrives == self.redrives else 0
        return Entry(self.version + 1, state, attempt, redrives, now_ms, begun_at_ms or now_ms)

    def begun_of(self, request: m.EmailRequest | m.PageEmail, now_ms: int) -> int:
        """When `request`, or its newest redrive, was first looked at."""
        return self.begun_at_ms if self.begun_at_ms and request.redrives == self.redrives else now_ms

    def may_try(self, request: m.EmailRequest | m.PageEmail) -> bool:
        return may_try(self, request)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class Ledger:
    def __init__(self, table: Rows) -> None:
        self._table = table

    def read(self, slot: Slot, request_id: str) -> Entry:
        raw = self._table.read(slot, request_id.encode())
        return Entry() if raw is None else _decode(raw)

    async def write(self, slot: Slot, request_id: str, entry: Entry, *, durable: bool = False) -> None:
        """With `durable` it returns when another worker would find it, should this one be killed the next moment."""
        await self._table.write(slot, {request_id.encode(): _encode(entry)}, durable=durable)


def is_over(raw: bytes, now_ms: int, keep_ms: int = KEEP_MS) -> bool:
    """Whether an entry says nothing any more that somebody could ask for: settled, and its records are gone."""
    entry = _decode(raw)
    return entry.state.settled and entry.changed_at_ms < now_ms - keep_ms
