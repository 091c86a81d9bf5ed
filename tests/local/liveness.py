"""Whether a process still runs."""

from __future__ import annotations

import os
from pathlib import Path


def is_alive(pid: int) -> bool:
    """A zombie is not: it has ended, and only waits for whoever inherited it."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/status")
        return not Path("/proc/self").exists() or "(zombie)" not in status.read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
