"""The thread in which aiokafka's consumer lives: heartbeats go on there while a flow computes."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

import aiokafka
from aiokafka.errors import CommitFailedError, ConsumerStoppedError, IllegalStateError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers.aiokafka import (
    AIOKafkaConsumerThread,
    credentials_to_aiokafka_auth,
    ensure_aiokafka_TP,
    server_list,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from faust.types import TP

    from streams.engine.consumer import Record

T = TypeVar("T")

# Faust's 1.5 s: so long a partition waits that was drained while a fetch for the others is under way.
FETCH_MAX_WAIT_MS = 50
# aiokafka holds every fetch back for so long when one partition has records that nobody took yet.
PREFETCH_BACKOFF_S = 0.005
# What one fetch may bring at once: decoding more would keep the interpreter from the flows for too long.
MAX_RECORDS = 50_000


class ConsumerThread(AIOKafkaConsumerThread):  # type: ignore[misc]
    """Fetches that can be interrupted, commits that can be abandoned, and a watch on the heartbeat."""

    _fetch_task: asyncio.Task[Any] | None = None
    _commit_task: asyncio.Task[Any] | None = None
    last_contact: float = 0.0

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:  # noqa: ANN401 - Faust ships no types
        conf = self.app.conf
        self._assignor = self.app.assignor
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            bootstrap_servers=server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
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
        self._watch_heartbeat(consumer._coordinator)  # noqa: SLF001 - no hook

    def _watch_heartbeat(self, coordinator: Any) -> None:  # noqa: ANN401 - aiokafka ships no types
        beat = coordinator._do_heartbeat  # noqa: SLF001 - no hook

        async def watched() -> bool:
            heard: bool = await beat()
            if heard:
                self.last_contact = time.monotonic()
            return heard

        coordinator._do_heartbeat = watched  # noqa: SLF001

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self.last_contact = time.monotonic()
        await super().on_partitions_assigned(assigned, generation_id)

    def run(self, work: Callable[[aiokafka.AIOKafkaConsumer], Coroutine[Any, Any, T]]) -> asyncio.Future[T]:
        """Run `work` in the thread; to be awaited in the main loop."""
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(self._ensure_consumer()), self.thread_loop))

    async def fetch(self, wanted: Iterable[TP], timeout_s: float) -> dict[TP, list[Record]]:
        """What is there of the wanted partitions; empty after `timeout_s`, or when interrupted."""
        tps = {ensure_aiokafka_TP(tp) for tp in wanted}
        if not tps:
            raise ValueError("nothing wanted: aiokafka would take that for everything")

        async def work(consumer: aiokafka.AIOKafkaConsumer) -> dict[TP, list[Record]]:
            fetcher = consumer._fetcher  # noqa: SLF001 - `getmany` cannot be interrupted
            if consumer._closed or fetcher._closed:  # noqa: SLF001
                raise ConsumerStoppedError
            if not self.consumer.flow_active:
                return {}
            with fetcher._subscriptions.fetch_context():  # noqa: SLF001
                task = asyncio.ensure_future(
                    fetcher.fetched_records(tps, timeout=timeout_s, max_records=MAX_RECORDS),
                )
                self._fetch_task = task
                # It is cancelled only where it waits for records, so none is taken and lost by that.
                await asyncio.wait([task])
            return {} if task.cancelled() else task.result()

        return await self.run(work)

    def interrupt_fetch(self) -> None:
        """End a fetch that waits for records; from the main thread."""
        self.thread_loop.call_soon_threadsafe(self._cancel, "_fetch_task")

    def abandon_commit(self) -> None:
        """A commit that is still under way must not be tried again in a later generation; from the main thread."""
        self.thread_loop.call_soon_threadsafe(self._cancel, "_commit_task")

    def _cancel(self, name: str) -> None:
        task: asyncio.Task[Any] | None = getattr(self, name)
        if task is not None and not task.done():
            task.cancel()

    async def touch(self) -> None:
        """Tell aiokafka that the app lives, though it fetches nothing now."""

        async def work(consumer: aiokafka.AIOKafkaConsumer) -> None:
            with consumer._fetcher._subscriptions.fetch_context():  # noqa: SLF001
                pass

        await self.run(work)

    async def ends(self, tps: Iterable[TP]) -> tuple[dict[TP, int | None], dict[TP, int], dict[TP, int]]:
        """The committed, the first and the end offsets of the partitions."""
        wanted = {ensure_aiokafka_TP(tp): tp for tp in tps}

        async def work(consumer: aiokafka.AIOKafkaConsumer) -> Any:  # noqa: ANN401
            return await asyncio.gather(
                asyncio.gather(*map(consumer.committed, wanted)),
                consumer.beginning_offsets(list(wanted)),
                consumer.end_offsets(list(wanted)),
            )

        committed, first, end = await self.run(work)
        return (
            dict(zip(wanted.values(), committed, strict=True)),
            {tp: first[key] for key, tp in wanted.items()},
            {tp: end[key] for key, tp in wanted.items()},
        )

    async def seek_all(self, targets: Mapping[TP, int]) -> None:
        async def work(consumer: aiokafka.AIOKafkaConsumer) -> None:
            for tp, offset in targets.items():
                consumer.seek(ensure_aiokafka_TP(tp), offset)

        await self.run(work)

    async def commit_now(self, offsets: Mapping[TP, int], limit_s: float) -> bool:
        """Commit; False when the group has rebalanced meanwhile or does not answer within `limit_s`."""
        wanted = {ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items()}

        async def work(consumer: aiokafka.AIOKafkaConsumer) -> bool:
            task = self._commit_task = asyncio.ensure_future(consumer.commit(wanted))
            await asyncio.wait([task], timeout=limit_s)
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
            if task.cancelled() or isinstance(task.exception(), (CommitFailedError, IllegalStateError)):
                return False
            task.result()
            return True

        return await self.run(work)
