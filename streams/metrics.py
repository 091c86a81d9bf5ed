"""Prometheus metrics of a worker, read from its counters when somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from streams.domain.outage import Cause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import faust
    from prometheus_client.core import Metric

    from streams.detection.counts import DetectionCounts
    from streams.detection.listening import Listening
    from streams.escalation.texts import AlertTexts
    from streams.reference import Replica
    from streams.sms.decisions import Decisions
    from streams.sms.gate import Gate
    from streams.sms_receipts import Receipts
    from streams.sms_to_provider import Dispatch
    from streams.timers import Timers

log = structlog.get_logger(__name__)


class _Collector:
    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()


def serve_metrics(app: faust.App, port: int, collect: Callable[[], Iterable[Metric]]) -> None:
    """Serve `/metrics` on `port` (0: a free one, told in the log) from the start of the worker on."""
    registry = CollectorRegistry()
    registry.register(_Collector(collect))

    def serve(*_: Any, **__: Any) -> None:  # noqa: ANN401 - a Faust signal's arguments
        server, _thread = start_http_server(port, registry=registry)
        log.info("metrics.served", port=server.server_port)

    # Nothing else refers to it.
    app.on_worker_init.connect(serve, weak=False)


def detection_metrics(
    counts: DetectionCounts, listening: Listening, replicas: Sequence[Replica[Any]]
) -> Callable[[], Iterable[Metric]]:
    """Records, readings by fate, alerts by type, buckets, silences, what is left to read, refused configurations."""

    def collect() -> Iterable[Metric]:
        yield CounterMetricFamily("freshtrack_reading_records", "Records of readings handled", value=counts.records)
        fates = {
            "evaluated": counts.evaluated,
            "late": counts.late,
            "repeated": counts.repeated,
            "out_of_order": counts.out_of_order,
            "already_seen": counts.already_seen,
        }
        yield _labelled("freshtrack_readings", "Readings by what became of them", "fate", fates)
        yield _labelled("freshtrack_readings_dead", "Refused readings by reason", "reason", counts.dead)
        yield _labelled("freshtrack_alerts", "Alert events by type", "type", counts.alerts)
        yield CounterMetricFamily("freshtrack_buckets", "Buckets published, revisions too", value=counts.buckets)
        yield CounterMetricFamily("freshtrack_units_silent", "Units found silent", value=counts.silent)
        behind = GaugeMetricFamily("freshtrack_readings_behind", "Records not handled yet", labels=["partition"])
        for partition, records in listening.behind.items():
            behind.add_metric([str(partition)], records)
        yield behind
        yield from _replicas(replicas)

    return collect


def notifications_metrics(
    dispatch: Dispatch,
    decisions: Decisions,
    gate: Gate,
    receipts: Receipts,
    texts: AlertTexts,
    timers: Timers,
    replicas: Sequence[Replica[Any]],
) -> Callable[[], Iterable[Metric]]:
    """SMS decisions and what waits by lane, the way to the provider, receipts, escalations, timers, configurations."""

    def collect() -> Iterable[Metric]:
        sms = CounterMetricFamily("freshtrack_sms", "Decisions about SMS", labels=["lane", "decision"])
        for (severity, decision), count in decisions.decided.items():
            sms.add_metric([severity, decision], count)
        yield sms
        waiting = GaugeMetricFamily("freshtrack_sms_waiting", "SMS that were read and wait", labels=["lane"])
        for lane, count in dispatch.waiting().items():
            waiting.add_metric([lane], count)
        yield waiting
        yield GaugeMetricFamily("freshtrack_sms_active", "Requests to the provider under way", value=gate.in_flight)
        pause = gate.way.pause
        paused = GaugeMetricFamily("freshtrack_sms_paused", "1 while nothing is sent, by cause", labels=["cause"])
        for cause in Cause:
            paused.add_metric([cause], int(pause is not None and pause.cause is cause))
        yield paused
        yield _labelled("freshtrack_sms_receipts", "Receipts and replies by what they say", "said", receipts.seen)
        yield _labelled("freshtrack_alerts_told", "Alerts told to a level of people, by the reason", "why", texts.made)
        yield CounterMetricFamily("freshtrack_timers_fired", "Timers that fired", value=timers.fired)
        yield GaugeMetricFamily("freshtrack_timers_pending", "Timers that wait", value=len(timers))
        yield GaugeMetricFamily(
            "freshtrack_timers_worst_late_seconds", "The latest firing so far", value=timers.worst_late_ms / 1000
        )
        yield from _replicas(replicas)

    return collect


def _replicas(replicas: Sequence[Replica[Any]]) -> Iterable[Metric]:
    entries = {replica.topic.name: len(replica) for replica in replicas}
    refused = {replica.topic.name: replica.refused for replica in replicas}
    family = GaugeMetricFamily("freshtrack_configuration_entries", "Entries known", labels=["topic"])
    for topic, count in entries.items():
        family.add_metric([topic], count)
    yield family
    yield _labelled("freshtrack_configuration_refused", "Configuration records that were refused", "topic", refused)


def _labelled(name: str, about: str, label: str, values: Mapping[Any, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, about, labels=[label])
    for key, count in values.items():
        family.add_metric([str(key)], count)
    return family
