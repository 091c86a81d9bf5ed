"""One rule of one unit: ok → pending → firing → recovering → ok, and the alerts that tell of it.

A breach begins with the first reading above a high limit (a low one mirrors all of this); exactly at the limit is
within. With `confirm_s` it is *pending* until a reading that is still above comes that many seconds of event time
later; one within the limit forgets it. It *fires* while readings are above the clear limit, which is never outside the
limit. `recover_readings` readings in a row at or inside the clear limit end it; while they are counted it is
*recovering*, and one outside throws it back to firing.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from domain.detection.alert_events import AboutAlert, about_alert
from schemas import messages as m


class Phase(StrEnum):
    PENDING = "pending"
    FIRING = "firing"
    RECOVERING = "recovering"


class Breach(Struct, frozen=True, array_like=True, gc=False):
    """A rule that is not ok. What was announced of it stays here, so that it can be resolved without its rule."""

    rule_id: str
    organization_id: str
    limit: m.Limit
    limit_c: float
    severity: m.Severity
    phase: Phase
    started_at_ms: int
    extreme_c: float
    inside: int = 0
    paging: bool = False

    @property
    def open(self) -> bool:
        """Whether it was announced."""
        return self.phase is not Phase.PENDING

    @property
    def kind(self) -> m.AlertKind:
        return m.AlertKind.TEMPERATURE_HIGH if self.limit is m.Limit.HIGH else m.AlertKind.TEMPERATURE_LOW


class Gauge:
    """A rule, turned so that more is worse: temperatures are multiplied by `sign` before they are compared."""

    __slots__ = ("clear", "confirm_ms", "limit", "organization_id", "rule", "sign")

    def __init__(self, rule: m.Rule, organization_id: str) -> None:
        self.rule = rule
        self.organization_id = organization_id
        self.sign = 1.0 if rule.limit is m.Limit.HIGH else -1.0
        self.limit = self.sign * rule.limit_c
        self.clear = self.limit if rule.clear_c is None else min(self.limit, self.sign * rule.clear_c)
        self.confirm_ms = rule.confirm_s * 1000

    def step(self, breach: Breach | None, at_ms: int, temperature_c: float) -> Breach | None:
        """The breach after one more reading; the same object when nothing changed."""
        worse = self.sign * temperature_c
        if breach is None:
            return None if worse <= self.limit else self._begin(at_ms, temperature_c)
        if breach.phase is Phase.PENDING:
            if worse <= self.limit:
                return None
            phase = Phase.FIRING if at_ms - breach.started_at_ms >= self.confirm_ms else Phase.PENDING
        elif worse > self.clear:
            phase = Phase.FIRING
        elif breach.inside + 1 < self.rule.recover_readings:
            return replace(breach, phase=Phase.RECOVERING, inside=breach.inside + 1)
        else:
            return None
        extreme_c = temperature_c if worse > self.sign * breach.extreme_c else breach.extreme_c
        if phase is breach.phase and extreme_c == breach.extreme_c:
            return breach
        return replace(breach, phase=phase, extreme_c=extreme_c, inside=0)

    def _begin(self, at_ms: int, temperature_c: float) -> Breach:
        rule = self.rule
        return Breach(
            rule_id=rule.rule_id,
            organization_id=self.organization_id,
            limit=rule.limit,
            limit_c=rule.limit_c,
            severity=rule.severity,
            phase=Phase.PENDING if self.confirm_ms else Phase.FIRING,
            started_at_ms=at_ms,
            extreme_c=temperature_c,
        )


def _about(unit_id: str, breach: Breach) -> AboutAlert:
    return about_alert(
        unit_id, breach.organization_id, breach.rule_id, breach.kind, breach.severity, breach.started_at_ms
    )


def triggered(unit_id: str, breach: Breach, at_ms: int, temperature_c: float, silent: str | None) -> m.AlertTriggered:
    return m.AlertTriggered(
        **_about(unit_id, breach),
        at_ms=at_ms,
        temperature_c=temperature_c,
        limit_c=breach.limit_c,
        paging=silent is None,
        silent_because=silent,
    )


def severity_raised(
    unit_id: str, breach: Breach, at_ms: int, temperature_c: float, former_severity: m.Severity
) -> m.SeverityRaised:
    return m.SeverityRaised(
        **_about(unit_id, breach),
        at_ms=at_ms,
        temperature_c=temperature_c,
        limit_c=breach.limit_c,
        former_severity=former_severity,
    )


def resolved(
    unit_id: str, breach: Breach, at_ms: int, temperature_c: float | None, because: str = "recovered"
) -> m.AlertResolved:
    """`temperature_c` is None where a change of the configuration ended it."""
    return m.AlertResolved(
        **_about(unit_id, breach),
        at_ms=at_ms,
        temperature_c=temperature_c,
        limit_c=breach.limit_c,
        extreme_c=breach.extreme_c,
        because=because,
    )
