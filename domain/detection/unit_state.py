"""What is remembered of a unit, and its configuration made ready for its readings."""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct

from domain.detection.aggregate_numbers import Grading, grading
from domain.detection.aggregate_state import UnitBuckets  # noqa: TC001 - msgspec reads the annotation
from domain.detection.breach import Breach, Gauge
from domain.detection.offline import in_maintenance
from domain.detection.sensor_clock import StaleReadings  # noqa: TC001 - msgspec reads the annotation
from schemas import messages as m

NEVER_MS = -1


class UnitState(Struct, frozen=True, array_like=True, gc=False):
    """All that is remembered of a unit in one partition. `applied_offset` is the newest offset that this contains.

    `offline_group` is the group to which the unit was reported as offline (`offline.py`), null while it is online. New
    fields go to the end and have a default: the changelog holds older values.
    """

    applied_offset: int = -1
    at_ms: int = NEVER_MS
    breaches: tuple[Breach, ...] = ()
    buckets: UnitBuckets | None = None
    offline_group: str | None = None
    stale: StaleReadings | None = None


class Watch(Struct, frozen=True, gc=False):
    """A unit's configuration, made ready for its readings. From `lowest_c` to `highest_c` no rule is breached."""

    config: m.UnitConfig
    gauges: tuple[Gauge, ...]
    lowest_c: float
    highest_c: float
    live_window_ms: int
    graded: Grading

    @classmethod
    def over(cls, config: m.UnitConfig) -> Watch:
        """Of rules with the same id the last one holds."""
        gauges = _gauges(config.rules, config.organization_id)
        return cls(config, *gauges, config.live_window_s * 1000, grading(config))

    @property
    def unit_id(self) -> str:
        return self.config.unit_id

    @property
    def organization_id(self) -> str:
        return self.config.organization_id

    def in_maintenance(self, at_ms: int) -> bool:
        return in_maintenance(self.config, at_ms)


@lru_cache(maxsize=1000)
def _gauges(rules: tuple[m.Rule, ...], organization_id: str) -> tuple[tuple[Gauge, ...], float, float]:
    """The gauges, and the range within which all are quiet. Many units share the same rules: so they share these."""
    distinct = {rule.rule_id: rule for rule in rules}.values()
    gauges = tuple(Gauge(rule, organization_id) for rule in sorted(distinct, key=lambda rule: rule.severity.rank))
    highest_c = min((rule.limit_c for rule in distinct if rule.limit is m.Limit.HIGH), default=float("inf"))
    lowest_c = max((rule.limit_c for rule in distinct if rule.limit is m.Limit.LOW), default=float("-inf"))
    return gauges, lowest_c, highest_c
