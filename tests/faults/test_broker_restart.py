"""The broker goes away in the middle of the flow, in good order and by `kill -9`: no reading is lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from local.kafka import EmbeddedKafka
from schemas import messages as m
from schemas.messages import encode
from tests.pipeline.conftest import Space, Worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Eventually

pytestmark = pytest.mark.broker

UNITS = 40
RULE = m.Rule(rule_id="high", limit=m.Limit.HIGH, severity=m.Severity.CRITICAL, limit_c=8.0)


def breaches_told(space: Space) -> set[str]:
    decode = msgspec.json.Decoder(m.Alert).decode
    return {decode(message.value() or b"").unit_id for message in space.read("alerts")}


def breach(space: Space, numbers: range) -> None:
    for number in numbers:
        reading = m.Reading(int(time.time() * 1000), 9.0)
        space.send("readings", f"unit-{number}", encode(m.ReadingBatch(f"unit-{number}", [reading])))


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_no_reading_is_lost_and_the_workers_come_back_by_themselves(
    how: str, tmp_path: Path, eventually: Eventually
) -> None:
    with EmbeddedKafka(tmp_path / "kafka") as broker:
        space = Space(broker.bootstrap, tmp_path)
        for number in range(UNITS):
            unit = m.UnitConfig(unit_id=f"unit-{number}", organization_id="o", name=f"{number}", rules=(RULE,))
            space.send("units", unit.unit_id, encode(unit))
        space.flush()
        worker = Worker("detection", space, 1, {})
        worker.start()
        try:
            breach(space, range(10))
            space.flush()
            eventually(lambda: len(breaches_told(space)) == 10, within_s=30)
            # Some of these reach the broker before it goes, the others wait in the producer until it is back.
            breach(space, range(10, 30))
            if how == "stop":
                broker.stop()
            else:
                broker.kill()
            breach(space, range(30, UNITS))
            broker.start()
            space.flush()

            def all_told() -> bool:
                # What a supervisor does: a worker that gave up on the broker is started again.
                if not worker.running():
                    worker.start()
                return len(breaches_told(space)) == UNITS

            eventually(all_told, within_s=60, every_s=0.2)
        finally:
            if worker.running():
                worker.kill()
