"""The guardian does its work also when its parent was gone before it had read a line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from signal import SIGTERM

GUARDIAN = Path(__file__).resolve().parents[2] / "local" / "guardian.py"
NO_PARENT = "999999999"


def guardian_told(lines: str) -> None:
    subprocess.run([sys.executable, "-I", "-S", GUARDIAN, NO_PARENT], input=lines.encode(), check=True, timeout=15)


def test_what_was_guarded_ends_though_the_parent_died_before_the_guardian_could_read() -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as victim:
        guardian_told(f"guard {victim.pid} {int(SIGTERM)}\n")
        assert victim.wait(5) == -SIGTERM


def test_what_was_released_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as released:
        guardian_told(f"guard {released.pid} {int(SIGTERM)}\nrelease {released.pid}\n")
        assert released.poll() is None
        released.kill()
