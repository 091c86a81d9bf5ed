"""Runs of records to one partition, with a fake producer whose batches hold two records."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.topics import UNIT_AGGREGATES
from streams.engine.batch_writer import publish_run
from streams.engine.publish import Outgoing, PublishError, RecordTooLargeError

pytestmark = pytest.mark.anyio

LARGE = b"x" * 100


class FakeBatch:
    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.closed = False

    def append(self, *, timestamp: int, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> object | None:
        assert type(headers) is list
        if len(self.values) == 2:
            return None
        self.values.append(value)
        return object()

    def size(self) -> int:
        return sum(map(len, self.values))

    def record_count(self) -> int:
        return len(self.values)

    def close(self) -> None:
        self.closed = True


class FakeProducer:
    def __init__(self) -> None:
        self.sent: list[tuple[str, int, list[bytes]]] = []
        self.futures: list[asyncio.Future[object]] = []

    def _ensure_producer(self) -> FakeProducer:
        return self

    def create_batch(self) -> FakeBatch:
        return FakeBatch()

    async def send_batch(self, batch: FakeBatch, topic: str, *, partition: int) -> asyncio.Future[object]:
        assert batch.closed
        self.sent.append((topic, partition, batch.values))
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.futures.append(future)
        return future


@pytest.fixture
def app() -> Any:
    return SimpleNamespace(
        producer=FakeProducer(),
        send_limit_s=0.2,
        worker_settings=SimpleNamespace(topic=lambda name: f"p.{name}"),
        conf=SimpleNamespace(producer_max_batch_size=len(LARGE) - 1),
    )


def records(*values: bytes) -> list[Outgoing]:
    return [Outgoing(UNIT_AGGREGATES, b"k", value) for value in values]


async def begun(app: Any, *values: bytes) -> asyncio.Task[None]:
    """The call, when it has handed over what it can."""
    task = asyncio.ensure_future(publish_run(app, UNIT_AGGREGATES, 3, records(*values)))
    for _ in range(5):
        await asyncio.sleep(0)
    return task


async def test_it_fills_batches_in_order_and_returns_when_the_broker_has_all(app: Any) -> None:
    task = await begun(app, b"1", b"2", b"3")
    assert app.producer.sent == [("p.unit-aggregates", 3, [b"1", b"2"]), ("p.unit-aggregates", 3, [b"3"])]
    app.producer.futures[0].set_result(None)
    await asyncio.sleep(0)
    assert not task.done()
    app.producer.futures[1].set_result(None)
    await task


async def test_a_refused_batch_fails_the_call(app: Any) -> None:
    task = await begun(app, b"1", b"2", b"3")
    app.producer.futures[0].set_exception(ConnectionError("no"))
    app.producer.futures[1].set_exception(ConnectionError("neither"))
    with pytest.raises(PublishError, match=r"only 0 of 3 records to p\.unit-aggregates\[3\] arrived"):
        await task


async def test_a_batch_that_is_not_acknowledged_in_time_fails_the_call(app: Any) -> None:
    with pytest.raises(PublishError):
        await publish_run(app, UNIT_AGGREGATES, 3, records(b"1"))


async def test_a_record_that_no_batch_can_hold_is_named(app: Any) -> None:
    with pytest.raises(RecordTooLargeError, match="b'k'"):
        await publish_run(app, UNIT_AGGREGATES, 3, records(LARGE))
    assert app.producer.sent == []
