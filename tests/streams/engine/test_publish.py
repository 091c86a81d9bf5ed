from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.headers import Header
from schemas.topics import ALERTS
from streams.engine.publish import Outgoing, PublishError, RecordTooLargeError, publish

pytestmark = pytest.mark.anyio


class FakeProducer:
    """Takes records; the test says what becomes of them."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes | None]] = []
        self.headers: list[list[tuple[str, bytes]]] = []
        self.futures: list[asyncio.Future[object]] = []

    async def send(
        self, topic: str, value: bytes | None, *, headers: list[tuple[str, bytes]], **_: object
    ) -> asyncio.Future[object]:
        self.sent.append((topic, value))
        self.headers.append(headers)
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.futures.append(future)
        return future

    def _ensure_producer(self) -> FakeProducer:
        return self


class FakeApp:
    """As much of an app as `publish` asks for."""

    send_limit_s = 0.05
    worker_settings = SimpleNamespace(topic=lambda name: f"p.{name}")

    class conf:  # noqa: N801 - Faust's name
        producer_max_request_size = 10_000

    def __init__(self) -> None:
        self.producer = FakeProducer()


@pytest.fixture
def app() -> Any:
    return FakeApp()


async def test_it_returns_only_when_the_broker_has_everything(app: Any) -> None:
    publishing = asyncio.ensure_future(publish(app, [Outgoing(ALERTS, b"k", b"1"), Outgoing(ALERTS, b"k", b"2")]))
    await asyncio.sleep(0.01)
    assert app.producer.sent == [("p.alerts", b"1"), ("p.alerts", b"2")]
    app.producer.futures[0].set_result(None)
    await asyncio.sleep(0)
    assert not publishing.done()
    app.producer.futures[1].set_result(None)
    await publishing


async def test_a_refused_record_raises(app: Any) -> None:
    publishing = asyncio.ensure_future(publish(app, [Outgoing(ALERTS, b"k", b"1")]))
    await asyncio.sleep(0.01)
    app.producer.futures[0].set_exception(RuntimeError("not leader"))
    with pytest.raises(PublishError, match="not leader"):
        await publishing


async def test_a_record_that_is_not_acknowledged_in_time_raises_and_says_how_many_were(app: Any) -> None:
    publishing = asyncio.ensure_future(publish(app, [Outgoing(ALERTS, b"k", b"1"), Outgoing(ALERTS, b"k", b"2")]))
    await asyncio.sleep(0.01)
    app.producer.futures[0].set_result(None)
    with pytest.raises(PublishError, match="only 1 of 2 records") as raised:
        await publishing
    assert raised.value.acknowledged == {0}


async def test_after_a_refusal_it_waits_to_see_which_others_arrived(app: Any) -> None:
    records = [Outgoing(ALERTS, b"k", b"1"), Outgoing(ALERTS, b"k", b"2")]
    publishing = asyncio.ensure_future(publish(app, records))
    await asyncio.sleep(0.01)
    app.producer.futures[0].set_exception(RuntimeError("not leader"))
    await asyncio.sleep(0)
    assert not publishing.done()
    app.producer.futures[1].set_result(None)
    with pytest.raises(PublishError, match="not leader") as raised:
        await publishing
    assert raised.value.acknowledged == {1}


async def test_nothing_is_sent_when_one_record_is_too_large(app: Any) -> None:
    large = Outgoing(ALERTS, b"unit-1", b"x" * 9_900)
    with pytest.raises(RecordTooLargeError, match="key b'unit-1' has 9,906 bytes, the limit is 9,488"):
        await publish(app, [Outgoing(ALERTS, b"k", b"1"), large])
    assert app.producer.sent == []


async def test_nothing_to_send_needs_no_producer(app: Any) -> None:
    await publish(app, [])


async def test_the_names_of_headers_reach_the_producer_as_plain_strings(app: Any) -> None:
    publishing = asyncio.ensure_future(publish(app, [Outgoing(ALERTS, b"k", b"1", ((Header.ID, b"a"), ("b", b"")))]))
    await asyncio.sleep(0.01)
    app.producer.futures[0].set_result(None)
    await publishing
    assert app.producer.headers == [[("id", b"a"), ("b", b"")]]
    assert {type(name) for name, _ in app.producer.headers[0]} == {str}
