"""An event loop without I/O: virtual time, a seeded order of the ready tasks, and a hash of every step.

Time stands still while something can run, but for the little that each step takes, and jumps to the next timer when
nothing can. Callbacks of futures run before tasks and in order, so a task never sees half of what an event
caused; which *task* goes on is the schedule's choice.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import heapq
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from tests.simulation.processes import running

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Coroutine
    from random import Random

    from tests.simulation.processes import Process
    from tests.simulation.schedules import Schedule

T = TypeVar("T")

STEP_S = 20e-6
STALL_ONE_IN = 2_000
LONGEST_STALL_S = 0.4


class Stuck(AssertionError):  # noqa: N818 - the name of what happened
    """Something waits, and nothing will ever wake it."""


class StepsExceeded(AssertionError):  # noqa: N818
    """The run does not come to an end."""


class SimTask(asyncio.Task[Any]):
    """Sets of tasks iterate in the order of hashes: by address they would differ from run to run."""

    def __init__(self, number: int, coroutine: Coroutine[Any, Any, Any], **kwargs: Any) -> None:
        self.number = number
        self.process = running.get()
        super().__init__(coroutine, **kwargs)
        # A run ends with whatever its processes were at.
        self._log_destroy_pending = False

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimFuture(asyncio.Future[Any]):
    """As `SimTask`."""

    def __init__(self, number: int, **kwargs: Any) -> None:
        self.number = number
        self.process = running.get()
        super().__init__(**kwargs)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimLoop(asyncio.BaseEventLoop):
    """`run(main)` runs a coroutine to its end and closes the loop; the same arguments always take the same steps."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _stopping: bool
    _clock_resolution: float

    def __init__(self, schedule: Schedule, rng: Random, *, max_steps: int = 200_000) -> None:
        super().__init__()
        self._clock_resolution = 1e-9
        self._schedule = schedule
        self._rng = rng
        self._max_steps = max_steps
        self._now = 1_000.0
        self._numbers = count(1)
        self._tasks: list[asyncio.Handle] = []
        self._kept: list[tuple[SimTask, Any]] = []
        self._hash = hashlib.blake2b(digest_size=8)
        self.steps = 0
        self.errors: list[dict[str, Any]] = []
        self.trace: list[str] | None = None
        self.set_task_factory(self._new_task)
        self.set_exception_handler(lambda _, context: self.errors.append(context))

    def time(self) -> float:
        return self._now

    def create_future(self) -> asyncio.Future[Any]:
        return SimFuture(next(self._numbers), loop=self)

    def _new_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **kwargs: Any) -> SimTask:
        number = next(self._numbers)
        task = SimTask(number, coroutine, loop=loop, name=f"task-{number}", **kwargs)
        # What the collector would throw away in the midst of the run would go on there, to its `finally`.
        self._kept.append((task, coroutine))
        return task

    @property
    def digest(self) -> str:
        """The hash of every step until now."""
        return self._hash.hexdigest()

    def note(self, what: str) -> None:
        """Let an event of the simulated world count in the hash, and appear in the trace."""
        self._hash.update(what.encode())
        if self.trace is not None:
            self.trace.append(f"{self._now - 1_000:9.4f}  {what}")

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        try:
            result: T = self.run_until_complete(main)
        finally:
            self._throw_away()
            self.close()
        return result

    def unseen(self) -> list[SimTask]:
        """Tasks that have failed, and nobody has looked."""
        return [task for task, _ in self._kept if task.done() and task._log_traceback]

    def _throw_away(self) -> None:
        """End what still waits, now rather than in a later run."""
        for task, coroutine in self._kept:
            if not task.done():
                with contextlib.suppress(BaseException):
                    coroutine.close()
        self._kept.clear()

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """Runs `func` within the loop, at a step of its own."""
        future = self.create_future()

        def work() -> None:
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - handed on
                future.set_exception(error)
            else:
                future.set_result(result)

        self.call_later(self._rng.random() * 0.01, work)
        return future

    def wake(self, process: Process) -> None:
        """A frozen process goes on."""
        self._ready.extend(process.wake(self._now))

    def _run_once(self) -> None:
        if not self._ready and not self._tasks and not self._stopping:
            self._jump()
        self._take_due()
        handle = self._next()
        if handle is None or self._held_back(handle):
            return
        self.steps += 1
        if self.steps > self._max_steps:
            raise StepsExceeded(f"no end after {self.steps:,} steps and {self._now - 1_000:,.0f} s")
        self._now += STEP_S
        if self._rng.random() * STALL_ONE_IN < 1:
            self._now += self._rng.random() * LONGEST_STALL_S
        self._hash.update(_label(handle).encode())
        handle._run()

    def _jump(self) -> None:
        while self._scheduled and self._scheduled[0].cancelled():
            heapq.heappop(self._scheduled)._scheduled = False  # type: ignore[attr-defined]
        if not self._scheduled:
            raise Stuck("nothing can run, and no timer is set")
        self._now = max(self._now, self._scheduled[0].when())

    def _take_due(self) -> None:
        while self._scheduled and self._scheduled[0].when() <= self._now:
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False  # type: ignore[attr-defined]
            if not handle.cancelled():
                self._ready.append(handle)

    def _next(self) -> asyncio.Handle | None:
        while self._ready:
            handle = self._ready.popleft()
            if handle.cancelled():
                continue
            if _task_of(handle) is None:
                return handle
            self._tasks.append(handle)
        if not self._tasks:
            return None
        if len(self._tasks) == 1:
            return self._tasks.pop()
        return self._tasks.pop(self._schedule.choose([_number_of(handle) for handle in self._tasks]))

    @staticmethod
    def _held_back(handle: asyncio.Handle) -> bool:
        process = handle._context.get(running)  # type: ignore[attr-defined]
        if process is None:
            return False
        if not process.alive:
            return True
        if process.frozen_since is not None:
            process.parked.append(handle)
            return True
        return False

    def _asyncgen_firstiter_hook(self, agen: Any) -> None:
        """Generators of a killed process are not closed: it has no time for that."""

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """As above."""

    def _check_closed(self) -> None:
        """What a run leaves behind may still be thrown away after its end."""

    def _write_to_self(self) -> None:
        """Wakes a selector; there is none."""

    def _process_events(self, event_list: Any) -> None:
        """There are none."""


def _task_of(handle: asyncio.Handle) -> SimTask | None:
    owner = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]
    return owner if isinstance(owner, SimTask) else None


def _number_of(handle: asyncio.Handle) -> int:
    task = _task_of(handle)
    return task.number if task is not None else 0


def _label(handle: asyncio.Handle) -> str:
    task = _task_of(handle)
    if task is not None:
        return f"{task.number}"
    return getattr(handle._callback, "__qualname__", "call")  # type: ignore[attr-defined]
