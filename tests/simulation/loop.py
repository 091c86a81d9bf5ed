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
from contextvars import copy_context
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from tests.simulation.processes import running

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Coroutine
    from contextvars import Context
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

    number: int
    process: Process | None

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class Step:
    """A callback that is to run: asyncio's handle without what only debugging needs, at half its costs."""

    __slots__ = ("args", "callback", "context", "task", "when_s")

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context | None) -> None:
        # Null once it is cancelled.
        self.callback: Any = callback
        self.args = args
        self.context = copy_context() if context is None else context
        # The task that goes on with it; null where it is not a task's step.
        owner = getattr(callback, "__self__", None)
        self.task = owner if type(owner) is SimTask else None
        self.when_s = 0.0

    def cancel(self) -> None:
        self.callback, self.args = None, ()

    def cancelled(self) -> bool:
        return self.callback is None

    def when(self) -> float:
        return self.when_s


class SimLoop(asyncio.BaseEventLoop):
    """`run(main)` runs a coroutine to its end and closes the loop; the same arguments always take the same steps."""

    # Not asyncio's handles, but steps.
    _ready: deque[Any]
    _scheduled: list[Any]
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
        self._turns = count()
        self._tasks: list[Step] = []
        self._kept: list[tuple[SimTask, Any]] = []
        self._log: list[object] = []
        self._failure: BaseException | None = None
        self.steps = 0
        self._stall_at = self._next_stall()
        self.errors: list[dict[str, Any]] = []
        self.trace: list[str] | None = None
        self.set_task_factory(self._new_task)
        self.set_exception_handler(lambda _, context: self.errors.append(context))

    def time(self) -> float:
        return self._now

    def create_future(self) -> asyncio.Future[Any]:
        future = SimFuture(loop=self)
        future.number, future.process = next(self._numbers), running.get()
        return future

    def _new_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **kwargs: Any) -> SimTask:
        number = next(self._numbers)
        task = SimTask(number, coroutine, loop=loop, name=f"task-{number}", **kwargs)
        # What the collector would throw away in the midst of the run would go on there, to its `finally`.
        self._kept.append((task, coroutine))
        return task

    @property
    def digest(self) -> str:
        """The hash of every step until now."""
        return hashlib.blake2b("\n".join(map(str, self._log)).encode(), digest_size=8).hexdigest()

    def note(self, what: str) -> None:
        """Let an event of the simulated world count in the hash, and appear in the trace."""
        self._log.append(what)
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

    def fail(self, error: BaseException) -> None:
        """End the run with this finding at the next step, whoever would have caught the error."""
        self._failure = self._failure or error

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Any:
        step = Step(callback, args, context)
        self._ready.append(step)
        return step

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Any:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Any:
        step = Step(callback, args, context)
        step.when_s = when
        heapq.heappush(self._scheduled, (when, next(self._turns), step))
        return step

    def _run_once(self) -> None:
        """Until somebody stops the loop."""
        while not self._stopping and self._failure is None:
            step = self._next()
            process = step.context.get(running)
            if process is not None and (not process.alive or process.frozen_since is not None):
                if process.alive:
                    process.parked.append(step)
                continue
            self.steps += 1
            self._now += STEP_S
            if self.steps >= self._stall_at:
                self._stall_at = self._next_stall()
                self._now += self._rng.random() * LONGEST_STALL_S
            if self.steps > self._max_steps:
                raise StepsExceeded(f"no end after {self.steps:,} steps and {self._now - 1_000:,.0f} s")
            self._log.append(
                step.task.number if step.task is not None else getattr(step.callback, "__qualname__", "call")
            )
            self._do(step)
        if self._failure is not None:
            raise self._failure

    def _do(self, step: Step) -> None:
        try:
            step.context.run(step.callback, *step.args)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - as asyncio does
            self.call_exception_handler({"message": f"callback {step.callback}", "exception": error})

    def _next_stall(self) -> int:
        return self.steps + 1 + int(self._rng.expovariate(1 / STALL_ONE_IN))

    def _next(self) -> Step:
        """The next callback, else the task that the schedule chooses; where nothing can run, time jumps."""
        ready, tasks, scheduled = self._ready, self._tasks, self._scheduled
        while True:
            while scheduled and scheduled[0][0] <= self._now:
                ready.append(heapq.heappop(scheduled)[2])
            while ready:
                step: Step = ready.popleft()
                if step.callback is None:
                    continue
                if step.task is None:
                    return step
                tasks.append(step)
            if len(tasks) == 1:
                return tasks.pop()
            if tasks:
                return tasks.pop(self._schedule.choose([step.task.number for step in tasks]))  # type: ignore[union-attr]
            while scheduled and scheduled[0][2].callback is None:
                heapq.heappop(scheduled)
            if not scheduled:
                raise Stuck("nothing can run, and no timer is set")
            self._now = max(self._now, scheduled[0][0])

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
