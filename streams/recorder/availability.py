"""Whether the database answers: told in the log when that changes and not at every try, and in the metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = structlog.get_logger(__name__)

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 3.0


class Availability:
    """Shared by all flows of a worker. `tries` counts those that failed."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.tries = 0
        self._monotonic = monotonic
        self._away_since: float | None = None

    @property
    def away_s(self) -> float:
        """Seconds since it was found away; 0 while it answers."""
        return 0.0 if self._away_since is None else max(self._monotonic() - self._away_since, 0.001)

    def failed(self, error: BaseException) -> None:
        self.tries += 1
        if self._away_since is None:
            self._away_since = self._monotonic()
            log.error("recorder.database_away", why=repr(error).partition("\n")[0])

    def answered(self) -> None:
        if self._away_since is not None:
            log.info("recorder.database_back", after_s=round(self.away_s, 1))
            self._away_since = None


def waits_s() -> Iterator[float]:
    """How long to wait before the next try, for ever."""
    wait_s = FIRST_WAIT_S
    while True:
        yield wait_s
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)
