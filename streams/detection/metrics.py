"""What the worker `detection` exports to Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from streams.engine.metrics import configuration_metrics, labelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prometheus_client.core import Metric

    from streams.detection.consumer_lag import ConsumerLag
    from streams.detection.counts import DetectionCounts
    from streams.engine.global_table import GlobalTable


def detection_metrics(
    counts: DetectionCounts, lag: ConsumerLag, tables: Sequence[GlobalTable[Any]]
) -> Callable[[], Iterable[Metric]]:
    """Records, readings by fate, alerts by type, buckets, offline units, consumer lag, refused configurations."""

    def collect() -> Iterable[Metric]:
        yield CounterMetricFamily("freshtrack_reading_records", "Records of readings handled", value=counts.records)
        fates = {
            "evaluated": counts.evaluated,
            "late": counts.late,
            "repeated": counts.repeated,
            "out_of_order": counts.out_of_order,
            "already_seen": counts.already_seen,
        }
        yield labelled("freshtrack_readings", "Readings by what became of them", "fate", fates)
        yield labelled("freshtrack_readings_dead", "Refused readings by reason", "reason", counts.dead)
        yield labelled("freshtrack_alerts", "Alert events by type", "type", counts.alerts)
        yield CounterMetricFamily("freshtrack_buckets", "Buckets published, revisions too", value=counts.buckets)
        yield CounterMetricFamily("freshtrack_units_offline", "Units found offline", value=counts.offline)
        behind = GaugeMetricFamily("freshtrack_readings_behind", "Records not handled yet", labels=["partition"])
        for partition, records in lag.behind.items():
            behind.add_metric([str(partition)], records)
        yield behind
        yield from configuration_metrics(tables)

    return collect
