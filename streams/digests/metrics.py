"""What the worker `digests` tells Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prometheus_client.core import Metric

    from streams.digests.digests_to_email import DigestJobs
    from streams.digests.email_to_provider import Mailing
    from streams.digests.preferences_to_runs import DigestsDue
    from streams.engine.global_table import GlobalTable
    from streams.engine.timers import Timers


def digests_metrics(
    schedule: DigestsDue, jobs: DigestJobs, mailing: Mailing, timers: Timers, tables: Sequence[GlobalTable[Any]]
) -> Callable[[], Iterable[Metric]]:
    """Summaries due, made, failed; mails by decision and under way; timers; refused configurations."""

    def collect() -> Iterable[Metric]:
        yield CounterMetricFamily("freshtrack_digests_due", "Summaries that fell due, one a user", value=schedule.due)
        made = CounterMetricFamily("freshtrack_digest_jobs", "Summaries made, one for many", labels=["result"])
        for result, count in (("made", jobs.made), ("incomplete", jobs.incomplete), ("failed", jobs.failed)):
            made.add_metric([result], count)
        yield made
        yield CounterMetricFamily("freshtrack_emails_queued", "Mails asked for", value=jobs.queued)
        mails = CounterMetricFamily("freshtrack_emails", "Decisions about mails", labels=["decision"])
        for decision, count in mailing.decided.items():
            mails.add_metric([decision], count)
        yield mails
        yield GaugeMetricFamily("freshtrack_emails_active", "Mails on their way now", value=mailing.active)
        yield CounterMetricFamily("freshtrack_timers_fired", "Timers that fired", value=timers.fired)
        yield GaugeMetricFamily("freshtrack_timers_pending", "Timers that wait", value=len(timers))
        refused = CounterMetricFamily(
            "freshtrack_configuration_refused", "Configuration records that were refused", labels=["topic"]
        )
        for table in tables:
            refused.add_metric([table.topic.name], table.refused)
        yield refused

    return collect
