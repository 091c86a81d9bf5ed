"""A bug planted in our own code, and the quarantine around a flow as its app builds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streams.engine.quarantine import Quarantine
from streams.engine.recent_failures import RecentFailures

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from streams.engine.consumer import Batch


class PlantedError(Exception):
    """Nobody thought of this."""


def planted(works: Callable[..., Any], hits: Callable[..., bool]) -> Callable[..., Any]:
    """`works`, but for the arguments that it `hits`."""

    def fails(*arguments: Any, **named: Any) -> Any:
        if hits(*arguments):
            raise PlantedError("+12025550123 and ann@example.com hit a bug, \udfff")
        return works(*arguments, **named)

    return fails


class Kept:
    """What was set aside: offsets and reasons."""

    def __init__(self, folder: Path, handle: Callable[[Any], Awaitable[None]], limit: int = 3) -> None:
        self.offsets: list[int] = []
        self.reasons: list[str] = []
        self.now_ms = 0
        failures = RecentFailures(folder / "failures.json", limit, lambda: self.now_ms)
        self._quarantine = Quarantine(handle, self._keep, failures)

    async def _keep(self, batch: Batch, why: str) -> None:
        self.offsets += [record.offset for record in batch.records]
        self.reasons.append(why)

    async def handle(self, batch: Any) -> None:
        await self._quarantine.handle(batch)
