"""Durable timers on the real broker: nothing is lost or early, whatever becomes of the workers that keep them."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import pytest
from confluent_kafka import Producer

from benchmarks.timers_worker import PARTITIONS, Job, Order, encode
from tests.faults.workers import ROOT, Place

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.conftest import Eventually, Kafka

WORKER = ROOT / "benchmarks" / "timers_worker.py"
pytestmark = pytest.mark.broker

TOUCHED = 2_000


class Firing(msgspec.Struct, frozen=True):
    """One record that a timer published: `id_` is its idempotency key, `at_ms` when the broker was given it."""

    timer_id: str
    id_: bytes
    due_at_ms: int
    at_ms: int
    partition: int


class Clockwork:
    """Orders to the workers, and what their timers did."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.job = Job(place.group, place.topic("orders", PARTITIONS), place.topic("fired", PARTITIONS))
        self.ordered = 0

    def order(self, orders: Iterable[Order]) -> None:
        settings: dict[str, str | int | float | bool] = {
            "bootstrap.servers": self.place.bootstrap,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 200_000,
        }
        producer = Producer(settings)
        for order in orders:
            producer.produce(self.job.orders, key=order.timer_id, value=encode(order))
            self.ordered += 1
        assert producer.flush(30) == 0

    def taken(self) -> bool:
        """Whether every order was committed: then its timer outlives the worker."""
        return sum(self.place.committed(self.job.orders, number) for number in range(PARTITIONS)) == self.ordered

    def firings(self) -> list[Firing]:
        found = []
        for message in self.place.read(self.job.fired, PARTITIONS):
            headers = dict(message.headers() or [])
            timer_id, partition = message.key(), message.partition()
            assert isinstance(timer_id, bytes)
            assert partition is not None
            due, id_ = headers["due-at"], headers["id"]
            assert due is not None
            assert isinstance(id_, bytes)
            found.append(Firing(timer_id.decode(), id_, int(due), message.timestamp()[1], partition))
        return found

    def fired_at_least(self, count: int) -> bool:
        """Cheap to ask: by the end offsets, so with repetitions."""
        return self.place.length(self.job.fired, PARTITIONS) >= count


def spread(count: int, first_ms: int, last_ms: int) -> list[Order]:
    return [Order(f"t{number}", first_ms + (last_ms - first_ms) * number // count) for number in range(count)]


def now_ms() -> int:
    return int(time.time() * 1000)


def judge(clockwork: Clockwork, wanted: dict[str, int]) -> Counter[bytes]:
    """Every wanted timer fired for its newest time, none early, none else; returns how often each did."""
    firings = clockwork.firings()
    assert {firing.timer_id for firing in firings} - wanted.keys() == set(), "cancelled ones fired"
    assert {(firing.timer_id, firing.due_at_ms) for firing in firings} == set(wanted.items())
    assert min(firing.at_ms - firing.due_at_ms for firing in firings) >= 0
    return Counter(firing.id_ for firing in firings)


@pytest.mark.parametrize(
    ("pending", "set_within_ms"), [(20_000, 6_000), pytest.param(100_000, 12_000, marks=pytest.mark.long)]
)
def test_pending_timers_outlive_a_rebalance_and_a_kill_and_each_takes_effect_once(
    pending: int, set_within_ms: int, kafka: Kafka, tmp_path: Path, eventually: Eventually
) -> None:
    place = Place(kafka.bootstrap, tmp_path)
    clockwork = Clockwork(place)
    rng = random.Random(5)
    with place.worker(WORKER, clockwork.job) as first:
        # Only then do all due times lie ahead of the last order, however slow the machine.
        eventually(lambda: "partitions.ready" in place.log.read_text(), within_s=60, what="the worker to be ready")
        begin = now_ms()
        last_ms = begin + set_within_ms + 6_000
        orders = spread(pending, begin + set_within_ms, last_ms)
        clockwork.order(orders)
        touched = rng.sample(orders, 2 * TOUCHED)
        cancelled = {order.timer_id for order in touched[:TOUCHED]}
        moved = {order.timer_id: last_ms + number for number, order in enumerate(touched[TOUCHED:])}
        clockwork.order(Order(timer_id, None) for timer_id in cancelled)
        clockwork.order(Order(timer_id, due_at_ms) for timer_id, due_at_ms in moved.items())
        wanted = {o.timer_id: o.due_at_ms or 0 for o in orders if o.timer_id not in cancelled} | moved
        eventually(clockwork.taken, within_s=30, every_s=0.1, what="the timers to be set")
        with place.worker(WORKER, clockwork.job, number=1) as second:
            # A third have fired, and both workers have their share.
            eventually(lambda: clockwork.fired_at_least(pending // 3), within_s=40, every_s=0.05)
            first.send_signal(signal.SIGKILL)
            eventually(lambda: clockwork.fired_at_least(len(wanted)), within_s=40, every_s=0.1, what="all to fire")
            eventually(lambda: len({f.timer_id for f in clockwork.firings()}) == len(wanted), within_s=20, every_s=0.5)
            second.terminate()
            assert second.wait(30) == 0
    times = judge(clockwork, wanted)
    # Only what was published in the last moment before the kill is published again, under the same key.
    assert sum(times.values()) - len(times) <= len(wanted) / 20, f"{sum(times.values()) - len(times)} twice"


def test_timers_that_fell_due_in_an_outage_fire_late_in_their_order_and_none_twice(
    kafka: Kafka, tmp_path: Path, eventually: Eventually
) -> None:
    place = Place(kafka.bootstrap, tmp_path)
    clockwork = Clockwork(place)
    begin = now_ms()
    orders = spread(TOUCHED, begin + 4_500, begin + 7_000)
    with place.worker(WORKER, clockwork.job) as worker:
        clockwork.order(orders)
        eventually(lambda: clockwork.fired_at_least(TOUCHED // 4), within_s=20, what="the first timers")
        worker.terminate()
        assert worker.wait(30) == 0
    fired_before = len(clockwork.firings())
    assert fired_before < TOUCHED
    eventually(lambda: now_ms() > begin + 7_000, what="the rest to fall due while nobody is there")
    with place.worker(WORKER, clockwork.job, number=1) as worker:
        eventually(lambda: clockwork.fired_at_least(TOUCHED), within_s=30, what="the overdue timers")
        worker.terminate()
        assert worker.wait(30) == 0
    times = judge(clockwork, {order.timer_id: order.due_at_ms or 0 for order in orders})
    assert sum(times.values()) == TOUCHED, "a graceful restart fires nothing twice"
    for partition in range(PARTITIONS):
        due = [firing.due_at_ms for firing in clockwork.firings() if firing.partition == partition]
        assert due == sorted(due)
