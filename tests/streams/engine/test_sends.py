from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from streams.engine.publish import PublishError
from streams.engine.sends import Sends

if TYPE_CHECKING:
    from collections.abc import Awaitable

pytestmark = pytest.mark.anyio


def future() -> asyncio.Future[object]:
    return asyncio.get_running_loop().create_future()


async def fails(awaitable: Awaitable[object], words: str) -> None:
    with pytest.raises(PublishError, match=words):
        await awaitable


async def test_a_commit_waits_for_what_was_sent_before_it() -> None:
    sends, sent = Sends(5), future()
    sends.track(sent)
    waiting = asyncio.ensure_future(sends.all_through())
    await asyncio.sleep(0)
    assert not waiting.done()
    sent.set_result(None)
    await waiting
    assert len(sends) == 0


async def test_a_commit_does_not_wait_for_what_is_sent_after_it() -> None:
    sends, earlier, later = Sends(5), future(), future()
    sends.track(earlier)
    waiting = asyncio.ensure_future(sends.all_through())
    await asyncio.sleep(0)
    sends.track(later)
    earlier.set_result(None)
    await waiting
    later.cancel()


async def test_a_refused_send_is_never_forgotten() -> None:
    sends, sent = Sends(5), future()
    sends.track(sent)
    sent.set_exception(RuntimeError("refused"))
    await fails(sends.all_through(), "refused")
    await fails(sends.all_through(), "refused")


async def test_a_send_that_hangs_fails_at_the_limit() -> None:
    sends, sent = Sends(0.01), future()
    sends.track(sent)
    await fails(sends.all_through(), "not acknowledged within")
    sent.set_result(None)
    await fails(sends.all_through(), "not acknowledged within")


async def test_a_send_that_was_cancelled_counts_as_failed() -> None:
    sends, sent = Sends(5), future()
    sends.track(sent)
    sent.cancel()
    await fails(sends.all_through(), "cancelled")


async def test_a_record_that_the_producer_does_not_take_in_time_fails() -> None:
    sends = Sends(0.01)
    await fails(sends.within_limit(future()), "not taken within")
    await fails(sends.all_through(), "not taken within")


async def test_a_write_that_is_cancelled_halfway_stops_all_commits() -> None:
    sends = Sends(5)
    task = asyncio.ensure_future(sends.within_limit(future()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await fails(sends.all_through(), "cancelled before its records were sent")
