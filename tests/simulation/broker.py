"""The fake broker: topics, produce requests that are late, lost, refused or double-edged, and reads.

A call made by a process is a request: it takes time, and what was on its way when the process died or froze still
arrives. All delays and failures come from the broker's own random stream.
"""

from __future__ import annotations

import math
from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka.errors import KafkaTimeoutError, NotLeaderForPartitionError

from tests.simulation.partition_log import PartitionLog
from tests.simulation.processes import check_alive, running

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from random import Random

    from tests.simulation.loop import SimLoop, Step
    from tests.simulation.partition_log import Unsent
    from tests.simulation.processes import Process

RETRY_S = 0.1
BUFFERED = 0.5


class SentAt(NamedTuple):
    """The answer to a produce request: where its first record lies."""

    offset: int


class Weather:
    """How well the brokers do. Changed by faults while a run goes on."""

    def __init__(self) -> None:
        self.delay_s = (0.001, 0.02)
        self.slow_one_in = 50
        self.slow_s = (0.2, 2.0)
        self.lost_request_one_in = 0
        self.lost_answer_one_in = 0


class Request:
    """A produce request on its way."""

    def __init__(
        self, future: asyncio.Future[Any], log: PartitionLog, records: Sequence[Unsent], give_up: float
    ) -> None:
        self.future = future
        self.log = log
        self.records = records
        self.give_up = give_up
        self.at = 0.0
        self.process = running.get()
        self.lost = False
        # In the socket's buffer when its process was frozen: it leaves when the process wakes, whatever that does then.
        self.is_buffered = False
        self.unanswered = False


class Line:
    """The requests of one connection to one partition."""

    def __init__(self) -> None:
        self.requests: deque[Request] = deque()
        self.last_at = 0.0
        self.broken_until = 0.0
        self.answered_at = 0.0


class Broker:
    """One for all processes of a run."""

    def __init__(self, loop: SimLoop, rng: Random, at_once_s: float = 0.0) -> None:
        self.loop = loop
        self.rng = rng
        self._at_once_s = at_once_s
        self.weather = Weather()
        self.topics: dict[str, list[PartitionLog]] = {}
        self.on_append: Callable[[PartitionLog, int, Process | None], None] | None = None
        # Told of what a process sends, when it does.
        self.on_send: Callable[[Process, str, int], None] | None = None
        self._lines: dict[tuple[str, int, object], Line] = {}
        self._outside = Context()

    def now_ms(self) -> int:
        return int((self.loop.time() - 1_000.0) * 1000) + 1_795_521_600_000

    def create(self, topic: str, partitions: int) -> None:
        self.topics[topic] = [PartitionLog(topic, number) for number in range(partitions)]

    def log(self, topic: str, partition: int) -> PartitionLog:
        return self.topics[topic][partition]

    def later(self, delay_s: float, call: Callable[..., object], *args: Any) -> Step:
        """`call` happens in no process: whoever asked for it may be gone by then."""
        at = self.loop.time() + delay_s
        if self._at_once_s:
            at = math.ceil(at / self._at_once_s) * self._at_once_s
        step: Step = self.loop.call_at(at, call, *args, context=self._outside)
        return step

    def delay_s(self) -> float:
        weather = self.weather
        if self._happens(weather.slow_one_in):
            return self.rng.uniform(*weather.slow_s)
        return self.rng.uniform(*weather.delay_s)

    def _way_s(self) -> float:
        """What a request needs from the process that runs to its broker."""
        process = running.get()
        cut_off_s = process.cut_off_until - self.loop.time() if process is not None else 0.0
        return max(self.delay_s(), cut_off_s)

    async def answer(
        self, work: Callable[[], Any], ready: Callable[[], bool] = lambda: True, *, anyway: bool = False
    ) -> Any:
        """A request: `work` is done at the broker some time later, once `ready`, and its result comes back.

        `anyway`: also when nobody waits for the answer any more.
        """
        check_alive()
        future = self.loop.create_future()

        def arrive() -> None:
            if future.done() and not anyway:
                return
            if not ready():
                self.later(RETRY_S, arrive)
                return
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - the answer is an error
                self._settle(future, error, self.delay_s())
            else:
                self._settle(future, result, self.delay_s())

        self.later(self._way_s(), arrive)
        return await future

    def poll(self, logs: Sequence[PartitionLog], read: Callable[[], Any], wait_s: float) -> asyncio.Future[Any]:
        """A fetch request: it waits at the broker for something to read; after `wait_s` the future gives nothing."""
        check_alive()
        future = self.loop.create_future()
        is_asked = False

        def ask() -> None:
            nonlocal is_asked
            if not is_asked and not future.done():
                is_asked = True
                self.later(self._way_s(), look)

        def look() -> None:
            nonlocal is_asked
            is_asked = False
            if future.done():
                return
            try:
                found = read()
            except Exception as error:  # noqa: BLE001 - the answer is an error
                self._settle(future, error, self.delay_s())
                return
            if found:
                end.cancel()
                self._settle(future, found, self.delay_s())
                return
            for log in logs:
                log.waiting.append(ask)

        ask()
        end = self._settle(future, {}, wait_s)
        return future

    def send(self, client: object, topic: str, partition: int, records: Sequence[Unsent], limit_s: float) -> Any:
        """A produce request of one connection; the future gives a `SentAt`, or fails after `limit_s`.

        Requests of one client to one partition arrive in order. One that failed may be in the log all the same.
        """
        check_alive()
        now = self.loop.time()
        request = Request(self.loop.create_future(), self.log(topic, partition), records, now + limit_s)
        line = self._lines.setdefault((topic, partition, client), Line())
        # A producer sends nothing to a partition past a request that it still repeats.
        request.lost = self._happens(self.weather.lost_request_one_in) or line.broken_until > now
        request.is_buffered = self.rng.random() < BUFFERED
        request.unanswered = self._happens(self.weather.lost_answer_one_in)
        if request.lost:
            line.broken_until = request.give_up
        if request.process is not None and self.on_send is not None:
            self.on_send(request.process, topic, partition)
        request.at = line.last_at = max(now + self._way_s(), line.last_at)
        line.requests.append(request)
        if len(line.requests) == 1:
            self.later(request.at - now, self._arrive, line)
        return request.future

    def _arrive(self, line: Line) -> None:
        """Requests of a line are at the broker; the others wait behind them."""
        now = self.loop.time()
        while line.requests and line.requests[0].at <= now:
            if self._must_wait(line.requests[0], now):
                self.later(RETRY_S, self._arrive, line)
                return
            self._take(line, line.requests.popleft(), now)
        if line.requests:
            self.later(line.requests[0].at - now, self._arrive, line)

    @staticmethod
    def _must_wait(request: Request, now: float) -> bool:
        process = request.process
        if process is not None and process.frozen_since is not None and request.is_buffered:
            return True
        # It is the client that tries again where no leader is: a dead one does not.
        dead = process is not None and not process.alive
        return not request.lost and not request.log.has_leader and now < request.give_up and not dead

    def _take(self, line: Line, request: Request, now: float) -> None:
        if request.lost or not request.log.has_leader:
            error = NotLeaderForPartitionError() if request.lost else KafkaTimeoutError()
            self._settle(request.future, error, max(0.0, request.give_up - now))
            return
        log, process = request.log, request.process
        first = log.append(request.records, self.now_ms())
        self.loop.note(
            f"append {log.topic}[{log.partition}] {first}+{len(request.records)} by {process.name if process else 0}"
        )
        if self.on_append is not None:
            self.on_append(log, first, process)
        if request.unanswered:
            self._settle(request.future, KafkaTimeoutError(), max(0.0, request.give_up - now))
        else:
            # One request of a producer to a partition is under way at a time: answers come in order too.
            line.answered_at = max(now + self.delay_s(), line.answered_at + 1e-6)
            self._settle(request.future, SentAt(first), line.answered_at - now)

    def _settle(self, future: asyncio.Future[Any], result: Any, delay_s: float) -> Step:
        def settle() -> None:
            if future.done():
                return
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

        return self.later(delay_s, settle)

    def _happens(self, one_in: int) -> bool:
        return one_in > 0 and self.rng.random() * one_in < 1
