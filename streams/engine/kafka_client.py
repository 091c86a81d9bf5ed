"""`BrokerClient` over aiokafka, in a thread of its own: heartbeats go on there while a flow computes."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

import aiokafka
from aiokafka.errors import CommitFailedError, ConsumerStoppedError, IllegalStateError, RebalanceInProgressError
from aiokafka.protocol.group import HeartbeatRequest, SyncGroupRequest
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers.aiokafka import (
    AIOKafkaConsumerThread,
    credentials_to_aiokafka_auth,
    ensure_aiokafka_TP,
    server_list,
)
from faust.types import TP

from streams.engine.broker_client import Fetched, Offsets

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping

    from streams.engine.consumer import Record

T = TypeVar("T")

# Faust's 1.5 s: so long a partition waits that was drained while a fetch for the others is under way.
FETCH_MAX_WAIT_MS = 50
# aiokafka holds every fetch back for so long when one partition has records that nobody took yet.
PREFETCH_BACKOFF_S = 0.005
# A fetch returns when its wait is over, an interruption aside. It is late only where the thread itself is stuck.
LATE_S = 30.0
# Answers of the group to a member that it counts in.
HEARD = {0, RebalanceInProgressError.errno}


class KafkaClient(AIOKafkaConsumerThread):  # type: ignore[misc]
    """See `broker_client.py`. Faust starts and stops the thread, and subscribes to the topics."""

    _fetching: asyncio.Task[Any] | None = None
    _committing: asyncio.Task[Any] | None = None
    last_contact: float = 0.0

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:  # noqa: ANN401 - Faust ships no types
        conf = self.app.conf
        self._assignor = self.app.assignor
        self._positions: dict[Any, int] = {}
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            bootstrap_servers=server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            # `placement.py` decides where reading begins.
            auto_offset_reset="none",
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            check_crcs=conf.broker_check_crcs,
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            # What a producer took back did not happen.
            isolation_level="read_committed",
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            connections_max_idle_ms=conf.consumer_connections_max_idle_ms,
            **credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )

    async def on_start(self) -> None:
        await super().on_start()
        consumer = self._ensure_consumer()
        consumer._fetcher._prefetch_backoff = PREFETCH_BACKOFF_S  # noqa: SLF001 - no setting
        self.watch_contact(consumer._coordinator)  # noqa: SLF001 - no hook

    def watch_contact(self, coordinator: Any) -> None:  # noqa: ANN401 - aiokafka ships no types
        """Note when the group was asked, not when it answered: the answer may be as old as the request."""
        send = coordinator._send_req  # noqa: SLF001 - no hook

        async def watched(request: Any) -> Any:  # noqa: ANN401
            asked = time.monotonic()
            answer = await send(request)
            if isinstance(request, (HeartbeatRequest, SyncGroupRequest)) and answer.error_code in HEARD:
                self.last_contact = asked
            return answer

        coordinator._send_req = watched  # noqa: SLF001

    async def _call(self, work: Callable[[aiokafka.AIOKafkaConsumer], Coroutine[Any, Any, T]], limit_s: float) -> T:
        """Run `work` in the thread, called from the main loop."""
        future = asyncio.run_coroutine_threadsafe(work(self._ensure_consumer()), self.thread_loop)
        async with asyncio.timeout(limit_s):
            return await asyncio.wrap_future(future)

    async def offsets(self, partitions: Collection[TP], *, limit_s: float) -> Mapping[TP, Offsets]:
        wanted = {tp: ensure_aiokafka_TP(tp) for tp in partitions}

        async def work(consumer: aiokafka.AIOKafkaConsumer) -> Mapping[TP, Offsets]:
            committed, first, end = await asyncio.gather(
                asyncio.gather(*map(consumer.committed, wanted.values())),
                consumer.beginning_offsets(list(wanted.values())),
                consumer.end_offsets(list(wanted.values())),
            )
            known = zip(wanted.items(), committed, strict=True)
            return {tp: Offsets(offset, first[key], end[key]) for (tp, key), offset in known}

        return await self._call(work, limit_s)

    async def seek(self, positions: Mapping[TP, int], *, limit_s: float) -> None:
        async def work(consumer: aiokafka.AIOKafkaConsumer) -> None:
            if self._fetching is not None:
                self._fetching.cancel()
                await asyncio.wait([self._fetching])
            for tp, offset in positions.items():
                key = ensure_aiokafka_TP(tp)
                consumer.seek(key, offset)
                self._positions[key] = offset

        await self._call(work, limit_s)

    async def fetch(self, partitions: Collection[TP], *, max_records: int, wait_s: float) -> Mapping[TP, Fetched]:
        wanted = {ensure_aiokafka_TP(tp): tp for tp in partitions}
        if not wanted:
            raise ValueError("no partitions to fetch: aiokafka would take that for all of them")

        async def work(consumer: aiokafka.AIOKafkaConsumer) -> Mapping[TP, Fetched]:
            fetcher = consumer._fetcher  # noqa: SLF001 - `getmany` cannot be interrupted
            if consumer._closed or fetcher._closed:  # noqa: SLF001
                raise ConsumerStoppedError
            with fetcher._subscriptions.fetch_context():  # noqa: SLF001
                # Cancelled only where it waits for records, so none is taken and lost by that.
                task = asyncio.ensure_future(fetcher.fetched_records(wanted, timeout=wait_s, max_records=max_records))
                self._fetching = task
                try:
                    await asyncio.wait([task])
                finally:
                    task.cancel()
            if task.cancelled():
                return {}
            if task.exception() is not None:
                # Of other partitions it may have taken records already.
                self._go_back(consumer, wanted)
            return self._moved(consumer, wanted, task.result())

        return await self._call(work, wait_s + LATE_S)

    def _go_back(self, consumer: aiokafka.AIOKafkaConsumer, wanted: Mapping[Any, TP]) -> None:
        for key in consumer.assignment().intersection(wanted):
            consumer.seek(key, self._positions[key])

    def _moved(
        self, consumer: aiokafka.AIOKafkaConsumer, wanted: Mapping[Any, TP], records: Mapping[Any, list[Record]]
    ) -> Mapping[TP, Fetched]:
        """Each step of a position, also over offsets without a record, which aiokafka passes over silently."""
        assignment = consumer._subscription.subscription.assignment  # noqa: SLF001 - `position` may wait
        moved: dict[TP, Fetched] = {}
        for key, tp in wanted.items():
            state = assignment.state_value(key)
            former = self._positions.get(key)
            if state is None or former is None or not state.has_valid_position or state.position == former:
                continue
            self._positions[key] = state.position
            moved[tp] = Fetched(former, state.position, records.get(key, ()))
        return moved

    def interrupt_fetch(self) -> None:
        self.thread_loop.call_soon_threadsafe(self._cancel, "_fetching")

    def abandon_commit(self) -> None:
        self.thread_loop.call_soon_threadsafe(self._cancel, "_committing")

    def _cancel(self, name: str) -> None:
        task: asyncio.Task[Any] | None = getattr(self, name)
        if task is not None:
            task.cancel()

    async def keep_alive(self) -> None:
        async def work(consumer: aiokafka.AIOKafkaConsumer) -> None:
            with consumer._fetcher._subscriptions.fetch_context():  # noqa: SLF001 - its exit notes the time
                pass

        await self._call(work, LATE_S)

    async def commit(self, offsets: Mapping[TP, int], *, limit_s: float) -> bool:
        wanted = {ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items()}

        async def work(consumer: aiokafka.AIOKafkaConsumer) -> bool:
            task = self._committing = asyncio.ensure_future(consumer.commit(wanted))
            try:
                await asyncio.wait([task])
            finally:
                # aiokafka repeats it in later generations otherwise.
                task.cancel()
            if task.cancelled() or isinstance(task.exception(), (CommitFailedError, IllegalStateError)):
                return False
            task.result()
            return True

        return await self._call(work, limit_s)

    def assignment(self) -> frozenset[TP]:
        return frozenset(TP(tp.topic, tp.partition) for tp in self._ensure_consumer().assignment())
