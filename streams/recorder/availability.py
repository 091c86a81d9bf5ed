"""Whether the database answers: logged when that changes, not at every try, and shown in the metrics."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streams.engine.consumer import Batch

log = structlog.get_logger(__name__)

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 3.0
LOOK_AGAIN_S = 0.2


class Availability:
    """Shared by all flows. The database is away from the first unanswered try until every flow that failed succeeds.

    So a table that only one flow cannot write does not make it come and go. `tries` counts the failed ones.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.tries = 0
        self._monotonic = monotonic
        self._waiting: set[str] = set()
        self._away_since = 0.0

    @property
    def away(self) -> bool:
        return bool(self._waiting)

    @property
    def away_s(self) -> float:
        """Seconds since it was away; 0 while it answers."""
        return self._monotonic() - self._away_since if self._waiting else 0.0

    def failed(self, who: str, error: BaseException) -> None:
        """`who` got no answer and will try again."""
        self.tries += 1
        if not self._waiting:
            self._away_since = self._monotonic()
            log.error("recorder.database_away", who=who, why=repr(error).partition("\n")[0])
        self._waiting.add(who)

    def answered(self, who: str) -> None:
        """`who` got an answer of any kind, or stopped asking."""
        if who in self._waiting:
            after_s = self.away_s
            self._waiting.discard(who)
            if not self._waiting:
                log.info("recorder.database_back", after_s=round(after_s, 1))


def waits_s() -> Iterator[float]:
    """How long to wait before the next try, for ever."""
    wait_s = FIRST_WAIT_S
    while True:
        yield wait_s
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


async def must_go(batch: Batch, wait_s: float) -> bool:
    """Wait; returns True as soon as the partition must go."""
    while wait_s > 0:
        if batch.must_end() or not batch.still_ours():
            return True
        await asyncio.sleep(min(wait_s, LOOK_AGAIN_S))
        wait_s -= LOOK_AGAIN_S
    return False
