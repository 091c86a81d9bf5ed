"""When many requests miss the same cache entry at once, one asks the database and all get its answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Answer = TypeVar("Answer")


class SingleFlight(Generic[Answer]):
    """Calls by key: callers join a call under way instead of repeating it. Errors reach all of them."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Future[Answer]] = {}

    async def call(self, key: str, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        flight = self._under_way.get(key)
        if flight is None:
            flight = asyncio.ensure_future(ask())
            self._under_way[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        # A cancelled request must not cancel the others' answer.
        return await asyncio.shield(flight)

    def _landed(self, key: str, done: asyncio.Future[Answer]) -> None:
        self._under_way.pop(key, None)
        if not done.cancelled():
            done.exception()  # retrieved, even if nobody waits any longer


class Remembered(Generic[Answer]):
    """One answer for all callers, repeated for `for_s`. `clock` is monotonic, in seconds."""

    def __init__(self, for_s: float, clock: Callable[[], float]) -> None:
        self._for_s = for_s
        self._clock = clock
        self._answer: tuple[float, Answer] | None = None
        self._asking: SingleFlight[Answer] = SingleFlight()

    async def call(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The last answer while it is fresh, else what `ask` gives."""
        if self._answer is not None and self._clock() - self._answer[0] < self._for_s:
            return self._answer[1]
        answer = await self._asking.call("", ask)
        self._answer = self._clock(), answer
        return answer
