"""Waiting with a limit that nothing can swallow.

`asyncio.timeout` cancels what it waits for, and Faust's own waits catch that and go on. Here the work is a task of its
own: after the limit the caller goes on, whatever the task does with its cancellation.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

log = structlog.get_logger(__name__)

T = TypeVar("T")

RETRY_S = 0.5


async def within(limit_s: float, work: Coroutine[Any, Any, object], what: str) -> bool:
    """Run `work`; False if it has not ended within the limit, then it is cancelled. Raises what the work raises."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task], timeout=limit_s)
    finally:
        if not task.done():
            task.cancel()
            look_at(task, what)
    if not task.done():
        log.warning("limit.reached", what=what, limit_s=limit_s)
        return False
    task.result()
    return True


async def insist(step: Callable[[], Awaitable[T]], limit_s: float, what: str) -> T:
    """Repeat a step that the broker does not answer or refuses. Raises TimeoutError when that lasts too long."""
    give_up = time.monotonic() + limit_s
    while True:
        try:
            return await step()
        except (TimeoutError, KafkaError) as error:
            if time.monotonic() >= give_up:
                raise TimeoutError(f"{what} did not succeed within {limit_s:g} s: {error!r}") from error
            log.warning("step.retried", what=what, error=repr(error))
        await asyncio.sleep(RETRY_S)


def look_at(task: asyncio.Future[Any], what: str) -> None:
    """Log what the task raises; nobody waits for it any more."""

    def done(task: asyncio.Future[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task.failed", what=what, error=repr(error))

    task.add_done_callback(done)
