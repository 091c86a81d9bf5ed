"""Of many requests that miss the same entry of a cache at once, one asks the database and all get its answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Answer = TypeVar("Answer")


class SingleFlight(Generic[Answer]):
    """Calls by key: a call that is under way is joined instead of made again. Errors reach all who wait."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Future[Answer]] = {}

    async def call(self, key: str, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        flight = self._under_way.get(key)
        if flight is None:
            flight = asyncio.ensure_future(ask())
            self._under_way[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        # A request that is given up must not take the others' answer with it.
        return await asyncio.shield(flight)

    def _landed(self, key: str, done: asyncio.Future[Answer]) -> None:
        self._under_way.pop(key, None)
        if not done.cancelled():
            done.exception()  # seen, also when everybody who waited is gone
