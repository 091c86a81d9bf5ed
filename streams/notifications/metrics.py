"""What the worker `notifications` tells Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from domain.notification.circuit_breaker import Cause
from streams.engine.metrics import configuration_metrics, labelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prometheus_client.core import Metric

    from streams.engine.global_table import GlobalTable
    from streams.engine.timers import Timers
    from streams.notifications.alert_texts import AlertTexts
    from streams.notifications.stages import Stages


def notifications_metrics(
    stages: Stages, texts: AlertTexts, timers: Timers, tables: Sequence[GlobalTable[Any]]
) -> Callable[[], Iterable[Metric]]:
    """SMS decisions and what waits by lane, the circuit breaker, receipts, escalations, timers, configurations."""

    def collect() -> Iterable[Metric]:
        sms = CounterMetricFamily("freshtrack_sms", "Decisions about SMS", labels=["lane", "decision"])
        for (severity, decision), count in stages.conclusion.decided.items():
            sms.add_metric([severity, decision], count)
        yield sms
        waiting = GaugeMetricFamily("freshtrack_sms_waiting", "SMS that were read and wait", labels=["lane"])
        for lane, count in stages.room.waiting().items():
            waiting.add_metric([lane], count)
        yield waiting
        limiter = stages.limiter
        yield GaugeMetricFamily("freshtrack_sms_active", "Requests to the provider under way", value=limiter.in_flight)
        opened = limiter.breaker.opened
        paused = GaugeMetricFamily("freshtrack_sms_paused", "1 while nothing is sent, by cause", labels=["cause"])
        for cause in Cause:
            paused.add_metric([cause], int(opened is not None and opened.cause is cause))
        yield paused
        seen = stages.deliveries.seen + stages.replies.seen
        yield labelled("freshtrack_sms_receipts", "Receipts and replies by what they say", "said", seen)
        yield labelled("freshtrack_alerts_told", "Alerts sent to a level of people, by the reason", "why", texts.made)
        yield CounterMetricFamily("freshtrack_timers_fired", "Timers that fired", value=timers.fired)
        yield GaugeMetricFamily("freshtrack_timers_pending", "Timers that wait", value=len(timers))
        yield GaugeMetricFamily(
            "freshtrack_timers_worst_late_seconds", "The latest firing so far", value=timers.worst_late_ms / 1000
        )
        yield from configuration_metrics(tables)

    return collect
