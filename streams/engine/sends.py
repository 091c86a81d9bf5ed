"""The sends that a commit waits for. One that failed, or took too long, is never forgotten: nothing is committed after
it, and the worker ends.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from streams.engine.publish import PublishError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection

T = TypeVar("T")


class Sends:
    """Futures of records that were given to the producer and are not acknowledged yet."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._open: set[asyncio.Future[Any]] = set()
        self._failure: BaseException | None = None

    def __len__(self) -> int:
        return len(self._open)

    def track(self, future: asyncio.Future[Any]) -> None:
        """No commit before this send is acknowledged."""
        self._open.add(future)
        future.add_done_callback(self._done)

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._open.discard(future)
        if future.cancelled():
            self.fail(PublishError("a send was cancelled before it was acknowledged"))
        elif (error := future.exception()) is not None:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """From now on nothing is committed."""
        if self._failure is None:
            self._failure = error

    def check(self) -> None:
        """Raises PublishError once a send has failed."""
        if self._failure is not None:
            raise PublishError(f"a send failed, so nothing may be committed: {self._failure!r}")

    async def within_limit(self, awaitable: Awaitable[T]) -> T:
        """Await a step of sending. It raises PublishError when it fails or takes too long, and nothing is committed."""
        try:
            async with asyncio.timeout(self._limit_s):
                return await awaitable
        except Exception as error:
            failure = PublishError(f"a record was not taken within {self._limit_s:g} s: {error!r}")
            self.fail(failure)
            raise failure from error
        except asyncio.CancelledError:
            # Reads may see these values already, and the changelog may never have them.
            self.fail(PublishError("a write was cancelled before its records were sent"))
            raise

    async def finished(self, futures: Collection[asyncio.Future[Any]]) -> None:
        """Wait for these. Raises PublishError when one failed or is not acknowledged within the limit."""
        if not futures:
            return
        _, waiting = await asyncio.wait(futures, timeout=self._limit_s)
        await asyncio.sleep(0)  # let the callbacks of the sends run
        if waiting:
            self.fail(PublishError(f"{len(waiting)} sends were not acknowledged within {self._limit_s:g} s"))
        self.check()

    async def all_through(self) -> None:
        """Wait for every send that was tracked before this call. Raises PublishError."""
        self.check()
        await self.finished(list(self._open))
