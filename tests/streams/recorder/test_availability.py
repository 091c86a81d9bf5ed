"""Whether the database answers, as the log and the metrics tell it."""

from __future__ import annotations

import itertools

from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import capture_logs

from streams.engine.metrics import _Collector
from streams.recorder.availability import FIRST_WAIT_S, LONGEST_WAIT_S, Availability, waits_s
from streams.recorder.counts import Counts
from streams.recorder.metrics import recorder_metrics
from streams.recorder.watermarks import Place

ERROR = OSError("nobody there")


def test_coming_and_going_is_logged_once_however_many_try() -> None:
    now_s = 100.0
    availability = Availability(lambda: now_s)
    with capture_logs() as logs:
        for _ in range(5):
            for who in ("alerts", "sms-outcomes"):
                availability.failed(who, ERROR)
        now_s = 107.0
        assert availability.away_s == 7
        availability.answered("alerts")
        availability.answered("unit-aggregates")
        assert availability.away
        availability.answered("sms-outcomes")
        availability.answered("alerts")
    assert [entry["event"] for entry in logs] == ["recorder.database_away", "recorder.database_back"]
    assert logs[1]["after_s"] == 7
    assert (availability.tries, availability.away_s) == (10, 0)


def test_one_flow_that_gets_no_answer_does_not_make_the_database_come_and_go() -> None:
    availability = Availability()
    with capture_logs() as logs:
        for _ in range(5):
            availability.failed("sms-outcomes", ERROR)
            availability.answered("alerts")
    assert len(logs) == 1


def test_waits_double_up_to_a_limit() -> None:
    waits = list(itertools.islice(waits_s(), 20))
    assert waits[:3] == [FIRST_WAIT_S, 2 * FIRST_WAIT_S, 4 * FIRST_WAIT_S]
    assert waits[-1] == LONGEST_WAIT_S == max(waits)


class _Watermarks:
    def behind_s(self) -> dict[Place, float]:
        return {Place("unit-aggregates", 2): 1.5}


def test_the_metrics_tell_what_was_recorded_and_that_the_database_is_away() -> None:
    availability, counts = Availability(), Counts()
    counts.records["alerts"] = 3
    counts.rows["alert_timeline"] = 4
    counts.unusable["alerts", "unreadable"] = 1
    availability.failed("alerts", ERROR)
    registry = CollectorRegistry()
    registry.register(_Collector(recorder_metrics(counts, availability, _Watermarks())))  # type: ignore[arg-type]
    told = generate_latest(registry).decode()
    for line in (
        'freshtrack_recorder_records_total{topic="alerts"} 3.0',
        'freshtrack_recorder_rows_total{table="alert_timeline"} 4.0',
        'freshtrack_recorder_unusable_total{reason="unreadable",topic="alerts"} 1.0',
        "freshtrack_recorder_ready 0.0",
        "freshtrack_recorder_failed_tries_total 1.0",
        'freshtrack_recorder_behind_seconds{partition="2",topic="unit-aggregates"} 1.5',
    ):
        assert line in told
