"""Several pieces of work at once, all of them finished before one failure counts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from streams.engine.consumer import Stale

if TYPE_CHECKING:
    from collections.abc import Awaitable


async def all_of(*work: Awaitable[None]) -> None:
    """Wait for all, then raise what failed; that a partition is no longer ours is the lesser failure."""
    ends = await asyncio.gather(*work, return_exceptions=True)
    failures = sorted(filter(None, ends), key=lambda failure: isinstance(failure, Stale))
    if failures:
        raise failures[0]
