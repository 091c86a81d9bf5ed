"""A process that was told to end is gone after a time, whatever hangs in it.

Nothing is lost by that: what was not finished is not committed.
"""

from __future__ import annotations

import os
import sys
import threading

EXIT_CODE = 70

_armed = threading.Lock()


def arm(limit_s: float, why: str) -> None:
    """End this process in `limit_s` seconds, unless it has ended by then; the first call counts."""
    if not _armed.acquire(blocking=False):
        return
    timer = threading.Timer(limit_s, _end, (limit_s, why))
    timer.daemon = True
    timer.start()


def _end(limit_s: float, why: str) -> None:
    stream = sys.__stderr__
    if stream is not None:
        stream.write(f"not drained {limit_s:g} s after {why}: ending at once, the rest is read again\n")
        stream.flush()
    os._exit(EXIT_CODE)
