"""The recorder's metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client.core import Metric

    from streams.recorder.availability import Availability
    from streams.recorder.counts import Counts
    from streams.recorder.watermarks import Watermarks


def recorder_metrics(
    counts: Counts, availability: Availability, watermarks: Watermarks
) -> Callable[[], Iterable[Metric]]:
    """Records and rows, unusable records, whether the database answers, how far behind the tables are.

    Collected in another thread than the one that counts, so whatever may grow is copied first.
    """

    def collect() -> Iterable[Metric]:
        for name, about, values in (
            ("records", "Records whose rows were written", counts.records),
            ("skipped", "Records that were written before and read again", counts.skipped),
        ):
            family = CounterMetricFamily(f"freshtrack_recorder_{name}", about, labels=["topic"])
            for topic, count in values.copy().items():
                family.add_metric([topic], count)
            yield family
        rows = CounterMetricFamily("freshtrack_recorder_rows", "Rows by table", labels=["table"])
        for table, count in counts.rows.copy().items():
            rows.add_metric([table], count)
        yield rows
        unusable = CounterMetricFamily(
            "freshtrack_recorder_unusable", "Records that became a row of job_failures", labels=["topic", "reason"]
        )
        for (topic, reason), count in counts.unusable.copy().items():
            unusable.add_metric([topic, reason], count)
        yield unusable
        yield GaugeMetricFamily(
            "freshtrack_recorder_ready", "1 while the database answers, else 0", value=int(not availability.away)
        )
        yield GaugeMetricFamily(
            "freshtrack_recorder_database_away_seconds", "Since when it does not answer", value=availability.away_s
        )
        yield CounterMetricFamily(
            "freshtrack_recorder_failed_tries", "Transactions that will be tried again", value=availability.tries
        )
        behind = GaugeMetricFamily(
            "freshtrack_recorder_behind_seconds", "Age of what the tables may lack", labels=["topic", "partition"]
        )
        for (topic, partition), seconds in watermarks.behind_s().items():
            behind.add_metric([topic, str(partition)], seconds)
        yield behind

    return collect
