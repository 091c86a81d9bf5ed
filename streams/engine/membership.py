"""The consumer's place in its group: epochs, what comes and goes with a rebalance, and whether the group hears of us.

This and `placement.py`, `committing.py` and `delivery.py` are one class in four layers, each on top of the former:
`StreamConsumer` in `delivery.py` is what an app gets.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import structlog
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import ConsumerMessage

from streams.engine.back_pressure import Room
from streams.engine.consumer_thread import ConsumerThread
from streams.engine.freeze_guard import end_if_frozen
from streams.engine.sends import Sends

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from faust.types import TP

    from streams.engine.commit_log import Span
    from streams.engine.consumer import Record
    from streams.engine.partition import SourcePartition
    from streams.engine.settings import WorkerSettings

log = structlog.get_logger(__name__)


class BatchMessage(ConsumerMessage):  # type: ignore[misc]
    """A Faust message that carries a run of records; `claim` is its place in the commit log."""

    __slots__ = ("claim",)


class Held:
    """Records that were fetched and wait for room."""

    __slots__ = ("index", "records")

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.index = 0


class Membership(driver.Consumer):  # type: ignore[misc]
    """Every rebalance and every seek by hand begins an epoch; what was cached or fetched in an older one is void."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Faust ships no types
        super().__init__(*args, **kwargs)
        self.settings: WorkerSettings = self.app.worker_settings
        self.epoch = 0
        self.partitions: dict[TP, SourcePartition] = {}
        self.sends = Sends(self.settings.send_limit_s)
        self.room = Room(self.settings.queued_batches)
        # What happened, for metrics and tests: runs that were void, sought back, behind a gap, given back.
        self.counts: Counter[str] = Counter()
        self._in_hand: dict[Span, BatchMessage] = {}
        self._beside_flows = 0
        self._held: dict[TP, Held] = {}
        self._positions: Counter[TP] = Counter()
        self._ready = False
        self._news = asyncio.Event()
        self._freed = asyncio.Event()
        self.app.producer.buffer.put = _refuse

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def in_contact(self) -> bool:
        """Whether the group has heard of us within the time after which it would give our partitions to others."""
        return bool(time.monotonic() - self._thread.last_contact < self.settings.session_timeout_s)

    def serves(self, epoch: int) -> bool:
        """Whether the partitions that were ours in `epoch` are ours still, and restored."""
        end_if_frozen()
        return self._ready and self.epoch == epoch and self.in_contact()

    @property
    def leaving(self) -> bool:
        """Whether partitions are about to go: a flow finishes what it has begun, and gives the rest back."""
        return not self.flow_active

    def stop_flow(self) -> None:
        super().stop_flow()
        self._news.set()

    def resume_flow(self) -> None:
        super().resume_flow()
        # Faust clears every queue just before it resumes the flow: nothing may be delivered earlier.
        self._ready = any(partition.placed for partition in self.partitions.values()) or not self.assignment()
        self._news.set()

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        super().resume_partitions(tps)
        self._news.set()

    def on_buffer_full(self, tp: TP) -> None:
        """Faust's own back-pressure; ours is in `Room`."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's stall detector, which never fires."""

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self.void_all()
        await super().on_partitions_assigned(assigned, generation_id)

    def void_all(self) -> None:
        """A new epoch: nothing that was fetched or is in hand counts any more."""
        self.epoch += 1
        self._ready = False
        for message in self._in_hand.values():
            self._void(message)
        self._in_hand.clear()
        self.room.clear()
        self._held.clear()
        self.partitions.clear()
        self._buffered_partitions.clear()
        self._news.set()

    def _void(self, message: BatchMessage) -> None:
        # A late acknowledgement of an acknowledged message changes nothing.
        message.acked = True
        self._unacked_messages.discard(message)
        self._freed.set()

    def close(self) -> None:
        """Faust would close aiokafka's client from another thread's loop, which hangs."""


def _refuse(*_: Any) -> None:  # noqa: ANN401
    raise TypeError("send with `streams.engine.publish.publish`: what Faust sends later may fail unseen")
