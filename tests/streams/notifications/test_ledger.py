"""What the ledger forgets, and what it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from domain.notification.lanes import HOUR_MS, HourlyCap
from domain.notification.rate_limit import Window
from domain.notification.request_state import RequestState
from streams.engine.applied_offset import applied_offset_of
from streams.engine.expiry import Expiry
from streams.notifications.ledger import KEEP_MS, Entry, Ledger, is_over
from tests.streams.fakes import NOW_MS, FakeBatch, FakeTable
from tests.streams.notifications.sms_world import request, sms_policy

if TYPE_CHECKING:
    from streams.engine.interfaces import Slot

pytestmark = pytest.mark.anyio


async def filled() -> FakeTable:
    table = FakeTable()
    ledger = Ledger(table)
    change = ledger.change(cast("Slot", FakeBatch([])))
    change.entry("sent", Entry(state=RequestState.SENT, changed_at_ms=NOW_MS))
    change.entry("waiting", Entry(state=RequestState.WAITING, changed_at_ms=NOW_MS))
    change.window(request(), Window().sent("sent", NOW_MS, 900_000))
    change.cap("org-1", HourlyCap().left(NOW_MS))
    change.notified(request(), NOW_MS)
    await change.write()
    return table


async def purged(table: FakeTable, now_ms: int) -> list[bytes]:
    await Expiry("sms-ledger", table, lambda key, raw: is_over(key, raw, now_ms, sms_policy().window_ms)).once()
    return sorted(key[:1] for key in table.rows)


async def test_nothing_is_forgotten_that_may_be_asked_for() -> None:
    assert await purged(await filled(), NOW_MS) == [b"h", b"r", b"r", b"t", b"w"]


async def test_windows_caps_and_who_was_told_go_when_they_are_over() -> None:
    table = await filled()
    assert await purged(table, NOW_MS + 900_000) == [b"h", b"r", b"r", b"t"]
    assert await purged(table, NOW_MS + HOUR_MS) == [b"r", b"r", b"t"]
    assert await purged(table, NOW_MS + 24 * HOUR_MS) == [b"r", b"r"]


async def test_a_settled_request_goes_when_its_record_cannot_be_read_again_and_an_open_one_stays() -> None:
    table = await filled()
    await purged(table, NOW_MS + KEEP_MS + 1)
    assert list(table.rows) == [b"rwaiting"]


async def test_the_fence_of_every_row_grows_with_each_change() -> None:
    table = await filled()
    before = {key: applied_offset_of(raw) for key, raw in table.rows.items()}
    ledger = Ledger(table)
    slot = cast("Slot", FakeBatch([]))
    change = ledger.change(slot)
    change.entry("sent", ledger.entry(slot, "sent"))
    change.window(request(), Window().sent("other", NOW_MS + 1, 900_000))
    change.notified(request(2), NOW_MS)
    await change.write()
    assert all(applied_offset_of(table.rows[key]) == before[key] + 1 for key in change.items)
    assert len(change.items) == 3
