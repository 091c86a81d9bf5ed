"""Prometheus metrics of a worker, read from its counters when somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from streams.engine import alarms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import faust
    from prometheus_client.core import Metric

    from streams.engine.global_table import GlobalTable

log = structlog.get_logger(__name__)


# Shown from the start on, so that a rule for the first one has something to compare with.
ALARMS = ("record.quarantined", "reference.refused", "reference.skipped")


class _Collector:
    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()


def serve_metrics(app: faust.App, port: int, collect: Callable[[], Iterable[Metric]]) -> None:
    """Serve `/metrics` on `port` (0: a free one, told in the log) from the start of the worker on.

    On loopback only, unless METRICS_HOST says otherwise: metrics name organizations' lanes and topics.
    """

    def with_engine() -> Iterable[Metric]:
        yield from collect()
        yield engine_metric(app.consumer.member.counts)
        yield alarm_metric()

    registry = CollectorRegistry()
    registry.register(_Collector(with_engine))

    def serve(*_: Any, **__: Any) -> None:  # noqa: ANN401 - a Faust signal's arguments
        host = app.worker_settings.metrics_host
        server, _thread = start_http_server(port, addr=host, registry=registry)
        log.info("metrics.served", host=host, port=server.server_port, elsewhere="METRICS_HOST=0.0.0.0 opens them")

    # Nothing else refers to it.
    app.on_worker_init.connect(serve, weak=False)


def engine_metric(counts: Mapping[str, int]) -> Metric:
    """Batches that were returned, positions that were set back, records lost to retention, stalled partitions."""
    always = dict.fromkeys(("returned", "sought", "void", "lost to retention", "stalled"), 0)
    about = "What happened to batches and positions"
    return labelled("freshtrack_engine_events", about, "event", always | dict(counts))


def alarm_metric() -> Metric:
    return labelled(
        "freshtrack_alarms", "What somebody must look at, by name", "alarm", dict.fromkeys(ALARMS, 0) | alarms.raised
    )


def configuration_metrics(tables: Sequence[GlobalTable[Any]]) -> Iterable[Metric]:
    entries = {table.topic.name: len(table) for table in tables}
    refused = {table.topic.name: table.refused for table in tables}
    family = GaugeMetricFamily("freshtrack_configuration_entries", "Entries known", labels=["topic"])
    for topic, count in entries.items():
        family.add_metric([topic], count)
    yield family
    yield labelled("freshtrack_configuration_refused", "Configuration records that were refused", "topic", refused)


def labelled(name: str, about: str, label: str, values: Mapping[Any, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, about, labels=[label])
    for key, count in values.items():
        family.add_metric([str(key)], count)
    return family
