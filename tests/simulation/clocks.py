"""Lets the code under test read virtual time and seeded chance, and forbids real threads."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import structlog

from tests.simulation.processes import running, wall_step_s

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.loop import SimLoop

# 2026-11-24 12:00 UTC at the begin of every run.
WALL_BEGIN_S = 1_795_521_600.0
MODULE_FUNCTIONS = ("random", "randint", "uniform", "choice", "shuffle", "sample", "randrange")


class RealThreadError(AssertionError):
    """Code under test started a thread: its steps would be nobody's choice."""


@contextlib.contextmanager
def virtual(loop: SimLoop, rng: random.Random) -> Iterator[None]:
    """`time.time`, `time.monotonic`, `time.perf_counter`, `clock_gettime` and `random`, while this context is open.

    A module that did `from time import monotonic` escapes this; `test_loop.py` looks for those.
    """

    def monotonic(*_: Any) -> float:
        return loop.time()

    def wall() -> float:
        return WALL_BEGIN_S + loop.time() - 1_000.0 + wall_step_s()

    def no_thread(self: threading.Thread) -> None:
        raise RealThreadError(f"thread {self.name} was started")

    def noted(_logger: Any, _level: str, event: structlog.typing.EventDict) -> str:
        process = running.get()
        fields = " ".join(f"{key}={value}" for key, value in event.items() if key not in {"event", "exc_info"})
        loop.note(f"{process.name if process else '-'} {event['event']} {fields}")
        raise structlog.DropEvent

    logs = structlog.get_config()
    structlog.configure(processors=[noted])
    with contextlib.ExitStack() as patches:
        patches.callback(structlog.configure, **logs)
        for name in ("monotonic", "perf_counter", "clock_gettime"):
            patches.enter_context(patch.object(time, name, monotonic))
        patches.enter_context(patch.object(time, "time", wall))
        patches.enter_context(patch.object(threading.Thread, "start", no_thread))
        for name in MODULE_FUNCTIONS:
            patches.enter_context(patch.object(random, name, getattr(rng, name)))
        yield
