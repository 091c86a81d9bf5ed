"""A worker with a bug, on a real broker: the records that hit it lie in the dead letters, and alerting goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from schemas.messages import DeadLetterReason as Reason
from streams.engine.build import version
from tests.pipeline.buggy_worker import POISON_C
from tests.pipeline.test_bad_readings import alerts, configure, letters, reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Eventually
    from tests.pipeline.conftest import Space, Worker

pytestmark = pytest.mark.broker


def test_one_record_that_our_code_fails_on_stops_nobody_and_three_end_the_worker(
    space: Space, start_worker: Callable[..., Worker], eventually: Eventually
) -> None:
    configure(space, "good", "other")
    for second, temperature_c in enumerate((9.0, POISON_C, 5.0)):
        space.send("readings", "good", reading("good", temperature_c, second))
    space.send("readings", "other", reading("other", 9.0, 0))
    space.flush()
    worker = start_worker("detection", module="tests.pipeline.buggy_worker")
    ends = [("good", "AlertResolved"), ("good", "AlertTriggered"), ("other", "AlertTriggered")]
    eventually(lambda: alerts(space) == ends, within_s=30)
    (letter,) = letters(space).values()
    assert (letter.reason, letter.build) == (Reason.QUARANTINED, version())
    assert letter.detail == "ZeroDivisionError: a bug that nobody knows"
    assert worker.running()
    assert "record.quarantined" in worker.log.read_text()

    for second in range(10, 15):
        space.send("readings", "good", reading("good", POISON_C, second))
    space.flush()
    eventually(lambda: not worker.running(), within_s=40)
    assert "3 records within a minute" in worker.log.read_text()
    assert len(letters(space)) == 2
