"""What a flow is handed, and what it is not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import pytest
from faust.types import TP

from streams.engine.broker_client import Fetched
from streams.engine.consumer import Batch, Stale, each_batch
from streams.engine.partition import Partition
from tests.streams.engine.engine_fakes import FakeClient, FakeFlows, member_of, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

P = TP("readings", 0)


class FakeStream:
    """Two batches of one partition, of which a flow has both in its queue."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition

    def noack(self) -> Self:
        return self

    async def events(self) -> AsyncIterator[Any]:
        for batch in (self._partition.assign(2), self._partition.assign(2)):
            assert batch is not None
            taken, records = batch
            yield SimpleNamespace(
                message=SimpleNamespace(
                    range=taken, source=self._partition, topic=P.topic, partition=P.partition, value=records
                )
            )


async def test_behind_a_batch_that_was_returned_while_partitions_leave_none_of_its_partition_begins() -> None:
    member = member_of(FakeClient({P: 4}), FakeFlows())
    partition = Partition(0, None, 1)
    partition.sought(0)
    partition.take(Fetched(0, 4, run(0, 1, 2, 3)))
    member.partitions, member.leaving = {P: partition}, True
    handed: list[int] = []

    async def handle(batch: Batch) -> None:
        handed.append(batch.records[0].offset)
        if len(handed) == 1:
            raise Stale

    await each_batch(SimpleNamespace(consumer=SimpleNamespace(member=member)), FakeStream(partition), handle)
    assert handed == [0]
    assert partition.committable is None
