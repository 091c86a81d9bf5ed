"""The fake broker: topics, produce requests that are late, lost, refused or double-edged, and reads.

A call made by a process is a request: it takes time, and what was on its way when the process died or froze still
arrives. All delays and failures come from the broker's own random stream.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaTimeoutError, NotLeaderForPartitionError

from tests.simulation.partition_log import PartitionLog
from tests.simulation.processes import check_alive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from tests.simulation.loop import SimLoop
    from tests.simulation.partition_log import Unsent

RETRY_S = 0.1


class Weather:
    """How well the brokers do. Changed by faults while a run goes on."""

    def __init__(self) -> None:
        self.delay_s = (0.001, 0.02)
        self.slow_one_in = 50
        self.slow_s = (0.2, 2.0)
        self.lost_request_one_in = 0
        self.lost_answer_one_in = 0


class Broker:
    """One for all processes of a run."""

    def __init__(self, loop: SimLoop, rng: Random) -> None:
        self.loop = loop
        self.rng = rng
        self.weather = Weather()
        self.topics: dict[str, list[PartitionLog]] = {}
        self.appended = asyncio.Event()
        # The time at which the last request to a partition arrives: a connection keeps their order.
        self._arrivals: dict[tuple[str, int, object], float] = {}
        self._outside = Context()

    def now_ms(self) -> int:
        return int((self.loop.time() - 1_000.0) * 1000) + 1_795_521_600_000

    def create(self, topic: str, partitions: int) -> None:
        self.topics[topic] = [PartitionLog(topic, number) for number in range(partitions)]

    def log(self, topic: str, partition: int) -> PartitionLog:
        return self.topics[topic][partition]

    def later(self, delay_s: float, call: Callable[..., object], *args: Any) -> None:
        """`call` happens in no process: whoever asked for it may be gone by then."""
        self.loop.call_later(delay_s, call, *args, context=self._outside.copy())

    def delay_s(self) -> float:
        weather = self.weather
        if self._happens(weather.slow_one_in):
            return self.rng.uniform(*weather.slow_s)
        return self.rng.uniform(*weather.delay_s)

    async def answer(self, work: Callable[[], Any], ready: Callable[[], bool] = lambda: True) -> Any:
        """A request: `work` is done at the broker some time later, once `ready`, and its result comes back."""
        check_alive()
        future = self.loop.create_future()

        def arrive() -> None:
            if future.done():
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

        self.later(self.delay_s(), arrive)
        return await future

    def send(self, client: object, topic: str, partition: int, records: Sequence[Unsent], limit_s: float) -> Any:
        """A produce request of one connection; the future gives the first offset, or fails after `limit_s`.

        Requests of one client to one partition arrive in order. One that failed may be in the log all the same.
        """
        check_alive()
        future = self.loop.create_future()
        give_up = self.loop.time() + limit_s
        lost = self._happens(self.weather.lost_request_one_in)
        unanswered = self._happens(self.weather.lost_answer_one_in)
        line = (topic, partition, client)

        def arrive() -> None:
            log = self.log(topic, partition)
            if lost or (not log.has_leader and self.loop.time() >= give_up):
                error = NotLeaderForPartitionError() if lost and self.rng.random() < 0.5 else KafkaTimeoutError()
                self._settle(future, error, max(0.0, give_up - self.loop.time()) * self.rng.random())
            elif not log.has_leader:
                self.later(RETRY_S, arrive)
            else:
                first = log.append(records, self.now_ms())
                self.loop.note(f"append {topic}[{partition}] {first}+{len(records)}")
                self.appended.set()
                if unanswered:
                    self._settle(future, KafkaTimeoutError(), limit_s)
                else:
                    self._settle(future, first, self.delay_s())

        at = max(self.loop.time() + self.delay_s(), self._arrivals.get(line, 0.0) + 1e-6)
        self._arrivals[line] = at
        self.later(at - self.loop.time(), arrive)
        return future

    def _settle(self, future: asyncio.Future[Any], result: Any, delay_s: float) -> None:
        def settle() -> None:
            if future.done():
                return
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

        self.later(delay_s, settle)

    def _happens(self, one_in: int) -> bool:
        return one_in > 0 and self.rng.random() * one_in < 1
