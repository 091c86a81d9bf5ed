"""What a task or a send raises when nobody waits for it any more is looked at all the same: asyncio complains else."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from faust.types import TP

from streams.engine.bounded import within
from streams.engine.broker_client import Fetched
from streams.engine.consumer import Batch, each_batch
from streams.engine.delivery import Delivery
from streams.engine.partition import Partition
from streams.engine.publish import PublishError, sending
from tests.streams.engine.engine_fakes import FakeClient, FakeFlows, member_of, run
from tests.streams.engine.test_consumer import FakeStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Eventually

pytestmark = pytest.mark.anyio

P = TP("readings", 0)


@pytest.fixture
async def complaints() -> list[str]:
    """What asyncio says of exceptions that nobody retrieved."""
    found: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context["message"]))
    return found


async def some_turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)
    gc.collect()


async def test_a_send_that_fails_after_its_limit(complaints: list[str]) -> None:
    async def late() -> None:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        with pytest.raises(PublishError):
            async with sending("a record", 0.01) as sent:
                sent.append(future)
        future.set_exception(ConnectionError("late"))

    await late()
    await some_turns()
    assert complaints == []


class UnhurriedStream(FakeStream):
    """Its batches begin before the next one comes."""

    async def events(self) -> AsyncIterator[Any]:
        async for event in super().events():
            yield event
            await some_turns()


class App:
    """As much of an app as `each_batch` asks for."""

    def __init__(self, member: Any) -> None:
        self.consumer = self
        self.member = member
        self.crashes: list[BaseException] = []

    async def crash(self, error: BaseException) -> None:
        self.crashes.append(error)


async def test_a_batch_that_fails_beside_others(complaints: list[str]) -> None:
    member = member_of(FakeClient({P: 4}), FakeFlows())
    partition = Partition(0, None, 1)
    partition.sought(0)
    partition.take(Fetched(0, 4, run(0, 1, 2, 3)))
    app = App(member)

    async def handle(_: Batch) -> None:
        raise ConnectionError("away")

    await each_batch(app, UnhurriedStream(partition), handle, at_once=3)
    await some_turns()
    assert [str(error) for error in app.crashes] == ["away", "away"]
    assert complaints == []


async def test_abandoned_work_that_fails_later(complaints: list[str]) -> None:
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ConnectionError("late")

    assert not await within(0.01, stubborn(), "a test")
    await some_turns()
    assert complaints == []


class BreakingClient(FakeClient):
    """Its fetch breaks when it is given up."""

    fetching = False

    async def fetch(self, *_: Any, **__: Any) -> Any:
        self.fetching = True
        try:
            await asyncio.Event().wait()
        finally:
            raise ConnectionError("late")


async def test_a_fetch_that_fails_behind_its_assignment(complaints: list[str], eventually: Eventually) -> None:
    client = BreakingClient({P: 4})
    delivery = Delivery(client, {P: Partition(0, None, 1)}, FakeFlows(), lambda: True, Counter(), queued=2)
    task = asyncio.ensure_future(delivery.run())
    await eventually.awaited(lambda: client.fetching)
    task.cancel()
    await asyncio.wait([task])
    del delivery, task
    await some_turns()
    assert complaints == []
