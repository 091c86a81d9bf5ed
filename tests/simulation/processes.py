"""Simulated processes: whatever runs in a task of one can be killed, frozen and woken, and has a clock of its own."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.loop import Step

running: ContextVar[Process | None] = ContextVar("running", default=None)
"""The process whose code runs; null for brokers and for the test itself. Tasks and callbacks inherit it."""


class ProcessEnded(BaseException):
    """The process was killed or ended itself; nothing that it still does has an effect."""


class Process:
    """One worker process. Frozen, its callbacks pile up in `parked`, and its wall clock goes on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen_since: float | None = None
        self.frozen_s = 0.0
        self.clock_step_s = 0.0
        # Its requests wait in the network until then, and arrive.
        self.cut_off_until = 0.0
        self.why_ended = ""
        self.parked: list[Step] = []

    def end(self, why: str) -> None:
        """As `kill -9` or `os._exit` would."""
        self.alive = False
        self.why_ended = self.why_ended or why
        self.parked.clear()

    def freeze(self, now: float) -> None:
        if self.frozen_since is None:
            self.frozen_since = now

    def wake(self, now: float) -> Iterator[Step]:
        """What piled up, in its order."""
        if self.frozen_since is not None:
            self.frozen_s += now - self.frozen_since
            self.frozen_since = None
        parked, self.parked = self.parked, []
        return iter(parked)


def wall_step_s() -> float:
    """By how much the running process's wall clock was set forward or back."""
    process = running.get()
    return process.clock_step_s if process is not None else 0.0


def check_alive() -> None:
    """Called before a process's request leaves it."""
    process = running.get()
    if process is not None and not process.alive:
        raise ProcessEnded(process.name)
