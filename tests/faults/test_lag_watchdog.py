"""A worker whose flow is stuck says so and ends, so that the rest of its group does the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.side_by_side_worker import SLOW, Job
from tests.faults.workers import Place

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Eventually, Kafka

pytestmark = pytest.mark.broker

PARTITIONS, RECORDS = 4, 200


def test_a_stuck_flow_ends_its_worker_and_the_group_goes_on_elsewhere(
    kafka: Kafka, tmp_path: Path, eventually: Eventually
) -> None:
    place = Place(kafka.bootstrap, tmp_path)
    source, out = place.topic("source", PARTITIONS), place.topic("out")
    opened = tmp_path / "opened"
    opened.touch()
    # The one waits for a file that never comes, and asks nobody whether it must end.
    stuck, sound = (Job(place.group, source, out, str(gate)) for gate in (tmp_path / "never", opened))
    limits = {"STALL_LIMIT_S": "4"}
    with (
        place.worker("side_by_side_worker.py", stuck, number=0, environment=limits) as first,
        place.worker("side_by_side_worker.py", sound, number=1, environment=limits) as second,
    ):
        eventually(lambda: place.log.read_text().count("partitions.ready") >= 2, within_s=60, what="both workers")
        place.produce(source, [SLOW] * RECORDS)
        eventually(lambda: first.poll() is not None, within_s=60, what="the stuck worker to end by itself")
        assert first.returncode not in {0, None}
        log = place.log.read_text()
        assert "partition.stalled" in log
        assert "have had work and no progress for 4 s" in log

        def all_committed() -> bool:
            return sum(place.committed(source, number) for number in range(PARTITIONS)) == RECORDS

        eventually(all_committed, within_s=60, every_s=0.2, what="the rest of the group")
        second.terminate()
        assert second.wait(30) == 0
    assert {message.value() for message in place.read(out)} == {b"done"}
    assert place.length(out) == RECORDS
