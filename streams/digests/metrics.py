"""The metrics of the worker `digests`."""

from __future__ import annotations

from collections import Counter  # noqa: TC003 - msgspec reads the annotations
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prometheus_client.core import Metric

    from streams.engine.global_table import GlobalTable
    from streams.engine.timers import Timers


class DigestCounters(Struct):
    """What the flows have done with digests since the worker's start."""

    due: int = 0
    made: int = 0
    incomplete: int = 0
    failed: int = 0
    queued: int = 0


class MailCounters(Protocol):
    """What became of mails, and how many are being sent."""

    @property
    def decided(self) -> Counter[str]: ...
    @property
    def active(self) -> int: ...


def digests_metrics(
    digests: DigestCounters,
    mails: MailCounters,
    pages: Counter[str],
    timers: Timers,
    tables: Sequence[GlobalTable[Any]],
) -> Callable[[], Iterable[Metric]]:
    """Digests due, made, failed; mails by decision and in progress; timers; refused configurations."""

    def collect() -> Iterable[Metric]:
        yield CounterMetricFamily("freshtrack_digests_due", "Digests that fell due, one a user", value=digests.due)
        made = CounterMetricFamily("freshtrack_digest_jobs", "Digests made, each for many users", labels=["result"])
        for result, count in (
            ("made", digests.made),
            ("incomplete", digests.incomplete),
            ("failed", digests.failed),
        ):
            made.add_metric([result], count)
        yield made
        yield CounterMetricFamily("freshtrack_emails_queued", "Mails requested", value=digests.queued)
        decisions = CounterMetricFamily("freshtrack_emails", "Decisions about mails", labels=["decision"])
        for decision, count in mails.decided.items():
            decisions.add_metric([decision], count)
        yield decisions
        by_mail = CounterMetricFamily("freshtrack_page_emails", "Decisions about pages by e-mail", labels=["decision"])
        for decision, count in pages.items():
            by_mail.add_metric([decision], count)
        yield by_mail
        yield GaugeMetricFamily("freshtrack_emails_active", "Mails being sent", value=mails.active)
        yield CounterMetricFamily("freshtrack_timers_fired", "Timers that fired", value=timers.fired)
        yield GaugeMetricFamily("freshtrack_timers_pending", "Timers that wait", value=len(timers))
        refused = CounterMetricFamily(
            "freshtrack_configuration_refused", "Configuration records that were refused", labels=["topic"]
        )
        for table in tables:
            refused.add_metric([table.topic.name], table.refused)
        yield refused

    return collect
