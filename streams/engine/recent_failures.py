"""How often our code has failed on single records of late."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WINDOW_MS = 60_000


class TooManyFailuresError(RuntimeError):
    """Our code fails on one record after the other: going on would throw the topic away."""


def _now_ms() -> int:
    return int(time.time() * 1000)


class RecentFailures:
    """Kept in a file of the worker's data folder: a worker that is started again must not start counting from zero.

    What ended the worker counts as well. So while it is started again at least once a minute nothing more is set aside.
    """

    def __init__(self, path: Path, limit: int, now_ms: Callable[[], int] = _now_ms) -> None:
        self._path = path
        self._limit = limit
        self._now_ms = now_ms

    def note(self, why: str) -> None:
        """One more. Raises TooManyFailuresError when it is the `limit`th within a minute."""
        now_ms = self._now_ms()
        recent = [at_ms for at_ms in self._read() if 0 <= now_ms - at_ms < WINDOW_MS]
        recent = [*recent, now_ms][-self._limit :]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(recent))
        if len(recent) >= self._limit:
            raise TooManyFailuresError(
                f"our code failed on {len(recent)} records within a minute, the limit is {self._limit}"
                f" (QUARANTINE_LIMIT); the worker ends rather than throw the topic away. The last: {why}"
            )

    def _read(self) -> list[int]:
        try:
            found = json.loads(self._path.read_text())
        except (OSError, ValueError):
            # None yet, or this process died while it wrote.
            return []
        return [at_ms for at_ms in found if isinstance(at_ms, int)] if isinstance(found, list) else []
