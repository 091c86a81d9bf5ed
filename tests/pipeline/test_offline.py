"""Units and gateways that fall silent, with real workers on the real broker."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest
from confluent_kafka import Producer

from schemas import messages as m
from schemas.messages import encode
from streams.detection.app import partition_of
from tests.pipeline.conftest import PARTITIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Eventually
    from tests.pipeline.conftest import Space, Worker

pytestmark = pytest.mark.broker

DECODE = msgspec.json.Decoder(m.Alert).decode
INTERVAL_S, MISSED = 2, 2


def unit(unit_id: str, gateway_id: str | None = None) -> m.UnitConfig:
    return m.UnitConfig(
        unit_id=unit_id,
        organization_id="org",
        name=unit_id,
        gateway_id=gateway_id,
        expected_interval_s=INTERVAL_S,
        offline_after_missed=MISSED,
    )


def read_now(producer: Producer, space: Space, unit_id: str) -> None:
    batch = m.ReadingBatch(unit_id, [m.Reading(int(time.time() * 1000), 4.0)])
    producer.produce(space.topic("readings"), key=unit_id, value=encode(batch))
    producer.poll(0)


@contextmanager
def kept_alive(space: Space, *unit_ids: str) -> Iterator[Callable[[], int]]:
    """Sends a reading of each unit four times a second; gives how often it did."""
    end, rounds = threading.Event(), 0
    producer = Producer({"bootstrap.servers": space.bootstrap, "partitioner": "murmur2_random", "linger.ms": 5})

    def feed() -> None:
        nonlocal rounds
        while not end.wait(0.25):
            for unit_id in unit_ids:
                read_now(producer, space, unit_id)
            rounds += 1

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    try:
        yield lambda: rounds
    finally:
        end.set()
        feeder.join(10)
        assert producer.flush(20) == 0


def told(space: Space) -> set[tuple[str, str, str]]:
    found = [DECODE(message.value() or b"") for message in space.read("alerts")]
    return {(type(alert).__name__.removeprefix("Alert"), alert.kind.value, alert.unit_id) for alert in found}


def test_silence_is_told_by_unit_or_by_gateway_and_resolved_and_nobody_is_wronged_by_a_restart_with_a_backlog(
    space: Space, start_worker: Callable[..., Worker], eventually: Eventually
) -> None:
    units = [unit("alone"), unit("never"), unit("alive"), unit("g-1", "g"), unit("g-2", "g"), unit("g-3", "g")]
    assert len({partition_of(PARTITIONS, unit.unit_id) for unit in units[3:]}) > 1
    for config in units:
        space.send("units", config.unit_id, encode(config))
    space.flush()
    for unit_id in ("alone", "g-1", "g-2", "g-3"):
        read_now(space.producer, space, unit_id)
    with kept_alive(space, "alive") as rounds:
        worker = start_worker("detection")
        silent = {
            ("Triggered", "sensor_offline", "alone"),
            ("Triggered", "sensor_offline", "never"),
            ("Triggered", "gateway_offline", "g-1"),
        }
        eventually(lambda: told(space) == silent, within_s=60)

        # Away for longer than anybody may be silent, and then with much to catch up.
        worker.kill()
        before = rounds()
        for unit_id in ("alone", "never", "g-2"):
            read_now(space.producer, space, unit_id)
        for _ in range(20_000):
            read_now(space.producer, space, "alive")
        space.flush()
        eventually(lambda: rounds() > before + 4 * (INTERVAL_S * MISSED + 1), within_s=30)
        worker.start()
        resolved = {("Resolved", kind, unit_id) for _, kind, unit_id in silent}
        eventually(lambda: told(space) >= silent | resolved, within_s=60)
        # They were heard once more, and fall silent again; the gateway does, too.
        eventually(lambda: len([1 for what, *_ in starts(space) if what == "alone"]) == 2, within_s=60)
        assert not any(unit_id == "alive" for _, _, unit_id in told(space))


def starts(space: Space) -> set[tuple[str, int]]:
    found = [DECODE(message.value() or b"") for message in space.read("alerts")]
    return {(alert.unit_id, alert.started_at_ms) for alert in found if isinstance(alert, m.AlertTriggered)}
