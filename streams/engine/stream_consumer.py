"""Faust's consumer, of which only the name is left: it passes on to `GroupMember` what Faust calls, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import ConsumerMessage

from streams.engine.bounded import within
from streams.engine.group_member import GroupMember
from streams.engine.kafka_client import KafkaClient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faust.types import TP

    from streams.engine.consumer import Record
    from streams.engine.partition import OffsetRange, Partition
    from streams.engine.settings import WorkerSettings
    from streams.engine.tables import BulkTable


class BatchMessage(ConsumerMessage):  # type: ignore[misc]
    """A Faust message that carries a run of records, and the range of offsets that they cover."""

    __slots__ = ("range", "source")


class StreamConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust starts it, subscribes it and stops it, and tells it of rebalances."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Faust ships no types
        super().__init__(*args, **kwargs)
        self._settings: WorkerSettings = self.app.worker_settings
        self.member = GroupMember(self._thread, self, self._settings)
        self.app.producer.buffer.put = _refuse

    def _new_consumer_thread(self) -> KafkaClient:
        return KafkaClient(self, loop=self.loop, beacon=self.beacon)

    # What `GroupMember` asks of the app.

    def is_changelog(self, topic: str) -> bool:
        return topic in self.app.tables.changelog_topics

    def batch_size(self, topic: str) -> int:
        return int(self.app.batch_sizes.get(topic, 1))

    def stored_offset(self, tp: TP) -> int | None:
        return self._table(tp).store.offset(tp.partition)

    def drop(self, tp: TP) -> None:
        self._table(tp).store.drop(tp.partition)

    def restore(self, tp: TP, records: Sequence[Record]) -> None:
        self._table(tp).restore(tp, records)

    def _table(self, tp: TP) -> BulkTable:
        table: BulkTable = self.app.tables._changelogs[tp.topic]  # noqa: SLF001 - no lookup by topic
        return table

    def begin(self) -> None:
        # Faust clears every queue when it resumes: nothing may be delivered earlier.
        self.app.flow_control.resume()
        super().resume_flow()
        self.app.on_rebalance_end()

    async def hand_over(self, tp: TP, partition: Partition, taken: OffsetRange, records: Sequence[Record]) -> None:
        first = records[0]
        message = BatchMessage(
            tp.topic, tp.partition, first.offset, first.timestamp / 1000, 0, None, first.key, records, None,
            tp=tp, generation_id=self.app.consumer_generation_id,
        )  # fmt: skip
        message.range, message.source = taken, partition
        await self.callback(message)

    async def failed(self, error: BaseException) -> None:
        await self.app.crash(error)

    # What Faust calls.

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        if revoked:
            self.stop_flow()
            self.app.flow_control.suspend()
            # What no flow has taken yet is read again, here or elsewhere.
            self.app.flow_control.clear()
            await self.member.revoked()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        limit_s = self._settings.session_timeout_s
        in_time = await within(limit_s, super().on_partitions_assigned(assigned, generation_id), "the assignment")
        if not in_time:
            await self.failed(TimeoutError(f"the stores of {len(assigned)} partitions did not open in {limit_s:g} s"))
        elif not (self.app.should_stop or self.app.crashed):
            await self.member.assigned(assigned)

    def stop_flow(self) -> None:
        super().stop_flow()
        self.member.leaving = True

    async def wait_empty(self) -> None:
        """Shutdown: as before a rebalance, with more time. What still runs here has no effect after it."""
        if self.member.partitions and not self.app.crashed:
            await self.member.settle(self._settings.drain_limit_s * 2 / 3)
        await self.member.end()

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ANN401, FBT001, FBT002
        del topics, start_new_transaction
        return await self.member.commit()

    async def _drain_messages(self, fetcher: Any) -> None:  # noqa: ANN401
        """Faust's loop; ours is in `delivery.py`."""
        await fetcher.wait_until_stopped()

    def ack(self, message: Any) -> bool:  # noqa: ANN401
        """Faust acknowledges what it skips, too: only `each_batch` completes a batch."""
        message.acked = True
        self._unacked_messages.discard(message)
        return False

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's stall detector, which never fires; ours is in `lag_watchdog.py`."""

    def close(self) -> None:
        """Faust would close aiokafka's client from another thread's loop, which hangs."""


def _refuse(*_: Any) -> None:  # noqa: ANN401
    raise TypeError("send with `streams.engine.publish.publish`: what Faust sends later may fail unseen")
