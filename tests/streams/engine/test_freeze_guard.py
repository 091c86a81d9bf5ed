from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from streams.engine.freeze_guard import EXIT_CODE, FreezeGuard

if TYPE_CHECKING:
    from tests.conftest import Eventually

ROOT = Path(__file__).resolve().parents[3]


class Clocks:
    """A clock that counts pauses and the wall clock, both set by hand."""

    def __init__(self) -> None:
        self.boot = 100.0
        self.wall = 1_000.0

    def __call__(self) -> tuple[float, float]:
        return self.boot, self.wall


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def guard(clocks: Clocks, pauses: list[float]) -> FreezeGuard:
    return FreezeGuard(8.0, clocks, pauses.append)


def test_a_process_that_runs_is_let_go_on(guard: FreezeGuard, clocks: Clocks, pauses: list[float]) -> None:
    for _ in range(100):
        clocks.boot += 0.5
        clocks.wall += 0.5
        guard.tick()
        guard.check()
    assert pauses == []


def test_a_process_that_was_frozen_ends_at_the_first_check(
    guard: FreezeGuard, clocks: Clocks, pauses: list[float]
) -> None:
    clocks.boot += 8.1
    guard.check()
    assert pauses == [pytest.approx(8.1)]


def test_a_machine_whose_clock_stood_still_is_seen_by_the_wall_clock(
    guard: FreezeGuard, clocks: Clocks, pauses: list[float]
) -> None:
    clocks.wall += 60
    guard.tick()
    assert pauses == [60]


def test_a_wall_clock_that_is_set_back_ends_nothing(guard: FreezeGuard, clocks: Clocks, pauses: list[float]) -> None:
    clocks.wall -= 3_600
    guard.check()
    assert pauses == []


def test_a_stopped_process_ends_when_it_is_continued(eventually: Eventually) -> None:
    code = (
        "import sys, time\n"
        "from streams.engine import freeze_guard\n"
        "freeze_guard.install(0.5)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGSTOP)
        begin = os.times().elapsed
        eventually(lambda: os.times().elapsed - begin > 1.0)
        process.send_signal(signal.SIGCONT)
        _, errors = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == EXIT_CODE
    assert b"frozen for" in errors


def test_a_system_without_a_clock_since_boot_starts_all_the_same() -> None:
    code = (
        "import time\n"
        "del time.CLOCK_BOOTTIME\n"
        "from streams.engine import freeze_guard\n"
        "assert freeze_guard.SINCE_BOOT == time.CLOCK_MONOTONIC\n"
        "assert len(freeze_guard.read_clocks()) == 2\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
