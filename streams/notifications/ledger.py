"""What the dispatch remembers, in one table beside the partition of the lanes: requests, windows, caps, and who was
notified of what.

All of it is keyed by user or belongs to one user's requests, so it lies where the lanes' records of that user are
read. Whoever changes something holds the user's lock from the first read to the last write; a partition has one owner.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import msgspec

from domain.notification.lanes import HourlyCap
from domain.notification.rate_limit import Window
from domain.notification.receipts import Attempt  # noqa: TC001 - msgspec reads the annotation
from domain.notification.request_state import RequestState, may_try
from schemas import messages as m
from schemas.topic import DAY_MS
from schemas.topics import SMS_CRITICAL

if TYPE_CHECKING:
    from streams.engine.interfaces import Rows, Slot

NOTIFIED_AT_MOST = 20
NOTIFIED_FOR_MS = 24 * 3_600_000
# A day longer than the lanes keep a record that could be read again.
KEEP_MS = SMS_CRITICAL.retention_ms + DAY_MS


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One request. `version` counts its changes: of two versions that recovery meets, the later one wins.

    `receipt` is the last attempt as receipts see it, and `request` the message while either may still be needed.
    `waited_for_window` is set once its rate window held it back. `begun_at_ms` is when it, or its newest
    redrive, was first looked at: from then on its deadline runs.
    """

    version: int = 0
    state: RequestState = RequestState.NEW
    attempt: int = 0
    redrives: int = 0
    changed_at_ms: int = 0
    receipt: Attempt | None = None
    request: bytes = b""
    waited_for_window: bool = False
    begun_at_ms: int = 0
    carried: tuple[bytes, ...] = ()
    """The requests that its SMS names beside it."""
    mailed: bool = False
    """Whether its user was sent the page by e-mail too."""
    only_named: bool = False
    """Its alert ended before it left: another SMS may name it, and none is sent for it."""
    to_e164: str = ""
    """The number of the last attempt: what a receipt says holds for it, whatever number its user has by then."""

    @property
    def found_sending(self) -> bool:
        """Whether somebody died between asking the provider and hearing it, once nobody is at work on it."""
        return self.state is RequestState.SENDING

    def may_try(self, request: m.SmsRequest) -> bool:
        return may_try(self, request)

    def of(self, request: m.SmsRequest) -> Entry:
        """What counts of the entry for `request`: after a redrive nothing but the version does."""
        return self if request.redrives <= self.redrives else Entry(version=self.version, redrives=request.redrives)


class NotifiedAlert(msgspec.Struct, frozen=True, array_like=True):
    """An alert that a user was texted about: what a reply of theirs may acknowledge."""

    alert_id: str
    unit_id: str
    organization_id: str
    at_ms: int
    kind: m.AlertKind = m.AlertKind.TEMPERATURE_HIGH
    severity: m.Severity = m.Severity.CRITICAL
    label: str = ""


class _Row(msgspec.Struct, frozen=True, array_like=True):
    """A value with the version that the rows of all our tables begin with."""

    version: int


class WindowRow(_Row, frozen=True, array_like=True):
    window: Window = Window()


class CapRow(_Row, frozen=True, array_like=True):
    cap: HourlyCap = HourlyCap()


class NotifiedRow(_Row, frozen=True, array_like=True):
    alerts: tuple[NotifiedAlert, ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_decode_entry = msgspec.msgpack.Decoder(Entry).decode
_decode_window = msgspec.msgpack.Decoder(WindowRow).decode
_decode_cap = msgspec.msgpack.Decoder(CapRow).decode
_decode_notified = msgspec.msgpack.Decoder(NotifiedRow).decode


class Change:
    """What one step changes, gathered for one write."""

    def __init__(self, ledger: Ledger, slot: Slot) -> None:
        self._ledger = ledger
        self._slot = slot
        self.items: dict[bytes, bytes | None] = {}

    def entry(self, request_id: str, entry: Entry) -> None:
        self.items[_entry_key(request_id)] = _encode(msgspec.structs.replace(entry, version=entry.version + 1))

    def window(self, request: m.SmsRequest, window: Window) -> None:
        """Write the window of the request's user, kind and severity, if it says something new."""
        row = self._ledger.window_row(self._slot, request, request.severity)
        if row.window != window:
            self.items[_window_key(request, request.severity)] = _encode(WindowRow(row.version + 1, window))

    def cap(self, organization_id: str, cap: HourlyCap) -> None:
        row = self._ledger.cap_row(self._slot, organization_id)
        self.items[_cap_key(organization_id)] = _encode(CapRow(row.version + 1, cap))

    def notified(self, request: m.SmsRequest, now_ms: int) -> None:
        """The user of `request` was texted about its alert."""
        key = _notified_key(request.user_id)
        stored = self._ledger.notified_row(self._slot, request.user_id)
        # One step may notify of several alerts.
        pending = self.items.get(key)
        row = stored if pending is None else _decode_notified(pending)
        notified = NotifiedAlert(
            request.alert_id,
            request.unit_id,
            request.organization_id,
            now_ms,
            request.kind,
            request.severity,
            request.label,
        )
        kept = [a for a in row.alerts if a.alert_id != notified.alert_id and a.at_ms > now_ms - NOTIFIED_FOR_MS]
        alerts = (*kept, notified)[-NOTIFIED_AT_MOST:]
        self.items[key] = _encode(NotifiedRow(stored.version + 1, alerts))

    async def write(self, *, durable: bool = False) -> None:
        """Raises Stale when the partition is not ours any more.

        With `durable` it returns when another worker would find it, should this one be killed in the next moment.
        """
        await self._ledger.table.write(self._slot, self.items, durable=durable)


class Ledger:
    def __init__(self, table: Rows) -> None:
        self.table = table
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def lock(self, user_id: str) -> asyncio.Lock:
        """Held by whoever decides about a user's messages: the dispatch, a receipt, a question to the provider."""
        return self._locks.setdefault(user_id, asyncio.Lock())

    def change(self, slot: Slot) -> Change:
        return Change(self, slot)

    def entry(self, slot: Slot, request_id: str) -> Entry:
        raw = self.table.read(slot, _entry_key(request_id))
        return Entry() if raw is None else _decode_entry(raw)

    def window(self, slot: Slot, request: m.SmsRequest, severity: m.Severity | None = None) -> Window:
        """The window of the request's user and kind, at its own severity or another."""
        return self.window_row(slot, request, severity or request.severity).window

    def cap(self, slot: Slot, organization_id: str) -> HourlyCap:
        return self.cap_row(slot, organization_id).cap

    def notified(self, slot: Slot, user_id: str, now_ms: int) -> tuple[NotifiedAlert, ...]:
        """The alerts that the user was texted about in the last day."""
        return tuple(a for a in self.notified_row(slot, user_id).alerts if a.at_ms > now_ms - NOTIFIED_FOR_MS)

    def window_row(self, slot: Slot, request: m.SmsRequest, severity: m.Severity) -> WindowRow:
        raw = self.table.read(slot, _window_key(request, severity))
        return WindowRow(0) if raw is None else _decode_window(raw)

    def cap_row(self, slot: Slot, organization_id: str) -> CapRow:
        raw = self.table.read(slot, _cap_key(organization_id))
        return CapRow(0) if raw is None else _decode_cap(raw)

    def notified_row(self, slot: Slot, user_id: str) -> NotifiedRow:
        raw = self.table.read(slot, _notified_key(user_id))
        return NotifiedRow(0) if raw is None else _decode_notified(raw)


def is_over(key: bytes, raw: bytes, now_ms: int, window_ms: int) -> bool:
    """Whether a row of the ledger says nothing any more that somebody could ask for.

    A settled request is kept for `KEEP_MS`: as long as its record lies in the lane and could be read again.
    """
    match key[:1]:
        case b"r":
            entry = _decode_entry(raw)
            return entry.state.settled and entry.changed_at_ms < now_ms - KEEP_MS
        case b"w":
            return _decode_window(raw).window.is_over(now_ms, window_ms)
        case b"h":
            return _decode_cap(raw).cap.is_over(now_ms)
        case b"t":
            return all(alert.at_ms <= now_ms - NOTIFIED_FOR_MS for alert in _decode_notified(raw).alerts)
        case _:
            return False


def _entry_key(request_id: str) -> bytes:
    return b"r" + request_id.encode()


def _window_key(request: m.SmsRequest, severity: m.Severity) -> bytes:
    return f"w{request.user_id}|{request.kind}|{severity}".encode()


def _cap_key(organization_id: str) -> bytes:
    return b"h" + organization_id.encode()


def _notified_key(user_id: str) -> bytes:
    return b"t" + user_id.encode()
