"""A page's share of the live feed: which of its units changed."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Subscription:
    """The units that changed since they were last taken."""

    def __init__(self, unit_ids: frozenset[str], waiting: set[Subscription]) -> None:
        self._unit_ids, self._waiting = unit_ids, waiting
        self._changed: set[str] = set()
        self._some = asyncio.Event()
        self._closed = asyncio.Event()
        waiting.add(self)

    def add(self, changed: set[str]) -> None:
        if mine := changed & self._unit_ids:
            self._changed |= mine
            self._some.set()

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def close(self) -> None:
        self._closed.set()
        self._waiting.discard(self)
        self._some.set()

    async def pause(self, length_s: float) -> None:
        """Let changes gather for a while; a closed subscription does not wait."""
        with suppress(TimeoutError):
            async with asyncio.timeout(length_s):
                await self._closed.wait()

    async def changes(self, limit_s: float) -> set[str]:
        """What changed, at once when something has; empty after `limit_s` without a change, or when it is closed."""
        try:
            async with asyncio.timeout(limit_s):
                await self._some.wait()
        except TimeoutError:
            return set()
        self._some.clear()
        found, self._changed = self._changed, set()
        return found
