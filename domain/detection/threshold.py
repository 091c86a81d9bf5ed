"""The thresholds of one unit: what a run of its readings does to its rules, and the alerts that follow.

`breach.py` has the states of a single rule. Here is what lies between the rules and around them:

* Whether an alert pages is apart from whether it exists. It is recorded and silent while a maintenance window covers
  the reading, while a critical alert of the unit is open (for less severe rules), and where the reading is older than
  the unit's live window. With the first reading that finds it firing and nothing that silences it, it begins to page
  (SeverityRaised). Once it paged, nothing silences it again.
* A reading counts only when it is newer than the newest one evaluated. One of the same time is a repetition, an older
  one came out of order; neither moves a rule. A reading may lie up to five minutes in the future, and then hides from
  the rules what comes before its time.
* A rule that left the configuration, or whose limit changed its direction, resolves its alert with the next reading
  ("rule removed", "rule changed"); a unit that left it, with its next record ("unit removed"). A new limit of the same
  rule judges the open breach from the next reading on. A higher severity is announced (SeverityRaised), a lower one
  holds from the next breach on.
"""

from __future__ import annotations

from bisect import bisect_left
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from domain.detection.breach import Breach, Phase, resolved, severity_raised, triggered
from domain.detection.sensor_clock import ended as clock_ended
from domain.detection.unit_state import UnitState, Watch
from schemas import messages as m

if TYPE_CHECKING:
    from domain.detection.readings import Run


class Silent(StrEnum):
    """Why an alert that exists does not page."""

    MAINTENANCE = "maintenance window"
    INHIBITED = "inhibited by critical"
    LATE = "older than the live window"


class Tally(Struct, frozen=True, gc=False):
    """What became of the readings of a run: each is in one of the first four; `late` is a part of the evaluated."""

    evaluated: int = 0
    repeated: int = 0
    out_of_order: int = 0
    already_seen: int = 0
    late: int = 0


class Evaluation(Struct, frozen=True, gc=False):
    state: UnitState
    alerts: list[m.Alert]
    tally: Tally


def settled(watch: Watch, state: UnitState, run: Run, now_ms: int) -> UnitState | None:
    """The state after a run that moves no rule; None when `evaluate` must decide."""
    times, temperatures = run.times, run.temperatures
    # With many units nearly every run has one reading.
    coldest, warmest = (
        (temperatures[0], temperatures[0]) if len(temperatures) == 1 else (min(temperatures), max(temperatures))
    )
    if (
        state.breaches
        or state.stale is not None
        or state.offline_group is not None
        or times[0] <= state.at_ms
        or times[0] < now_ms - watch.live_window_ms
        or not run.ascending
        or run.pairs[0][0].offset <= state.applied_offset
        or warmest > watch.highest_c
        or coldest < watch.lowest_c
    ):
        return None
    return UnitState(run.pairs[-1][0].offset, times[-1], (), state.buckets)


def evaluate(watch: Watch, state: UnitState, run: Run, now_ms: int) -> Evaluation:
    """Apply a run of readings. The same arguments give the same alerts with the same ids.

    What the state contains already (by its applied offset) changes nothing. How a series is cut into runs makes no
    difference.
    """
    fresh = run.after(state.applied_offset)
    if fresh is None:
        return Evaluation(state, [], Tally(already_seen=len(run.times)))
    times, temperatures = fresh.times, fresh.temperatures
    repeated = out_of_order = 0
    if not fresh.ascending or times[0] <= state.at_ms:
        times, temperatures, repeated, out_of_order = _in_order(fresh, state.at_ms)
    already_seen = len(run.times) - len(fresh.times)
    live_from_ms = now_ms - watch.live_window_ms
    tally = Tally(len(times), repeated, out_of_order, already_seen, bisect_left(times, live_from_ms))
    if not times:
        return Evaluation(replace(state, applied_offset=fresh.last_offset), [], tally)
    alerts: list[m.Alert] = []
    breaches = state.breaches
    if breaches or min(temperatures) < watch.lowest_c or max(temperatures) > watch.highest_c:
        breaches = _Course(watch, live_from_ms, alerts).follow(breaches, times, temperatures)
    after = UnitState(fresh.last_offset, times[-1], breaches, state.buckets, state.offline_group, state.stale)
    return Evaluation(after, alerts, tally)


def unit_removed(unit_id: str, state: UnitState) -> tuple[UnitState, list[m.Alert]]:
    """The end of all alerts of a unit that left the configuration, dated by the newest reading that was evaluated."""
    alerts: list[m.Alert] = [
        resolved(unit_id, breach, state.at_ms, None, "unit removed") for breach in state.breaches if breach.open
    ]
    alerts += clock_ended(unit_id, state.stale, state.at_ms, "unit removed")
    return replace(state, breaches=(), stale=None), alerts


def _in_order(run: Run, newest_ms: int) -> tuple[list[int], list[float], int, int]:
    times: list[int] = []
    temperatures: list[float] = []
    repeated = out_of_order = 0
    for at_ms, temperature_c in zip(run.times, run.temperatures, strict=True):
        if at_ms > newest_ms:
            newest_ms = at_ms
            times.append(at_ms)
            temperatures.append(temperature_c)
        elif at_ms == newest_ms:
            repeated += 1
        else:
            out_of_order += 1
    return times, temperatures, repeated, out_of_order


class _Course:
    """One pass over readings in order, and the alerts that it makes."""

    def __init__(self, watch: Watch, live_from_ms: int, alerts: list[m.Alert]) -> None:
        self._watch = watch
        self._unit_id = watch.config.unit_id
        self._live_from_ms = live_from_ms
        self._alerts = alerts

    def follow(self, breaches: tuple[Breach, ...], times: list[int], temperatures: list[float]) -> tuple[Breach, ...]:
        watch = self._watch
        gauges, lowest_c, highest_c = watch.gauges, watch.lowest_c, watch.highest_c
        now = self._beside_their_rules(breaches, times[0])
        quiet = not any(now)
        for at_ms, temperature_c in zip(times, temperatures, strict=True):
            if quiet and lowest_c <= temperature_c <= highest_c:
                continue
            before = now
            now = [gauge.step(breach, at_ms, temperature_c) for gauge, breach in zip(gauges, before, strict=True)]
            # What ends comes first: it may be what kept another silent.
            for old, new in zip(before, now, strict=True):
                if new is None and old is not None and old.open:
                    self._alerts.append(resolved(self._unit_id, old, at_ms, temperature_c))
            for index, new in enumerate(now):
                if new is not None and new.phase is Phase.FIRING:
                    now[index] = self._announced(gauges[index].rule, before[index], new, now, at_ms, temperature_c)
            quiet = not any(now)
        return tuple(breach for breach in now if breach is not None)

    def _beside_their_rules(self, breaches: tuple[Breach, ...], at_ms: int) -> list[Breach | None]:
        """A breach or None per rule; breaches whose rule is gone are resolved."""
        by_rule = {breach.rule_id: breach for breach in breaches}
        found: list[Breach | None] = []
        for gauge in self._watch.gauges:
            breach = by_rule.pop(gauge.rule.rule_id, None)
            if breach is not None and (because := self._outlived(breach, gauge.rule)) is not None:
                self._end(breach, at_ms, because)
                breach = None
            found.append(breach)
        for breach in by_rule.values():
            self._end(breach, at_ms, "rule removed")
        return found

    def _outlived(self, breach: Breach, rule: m.Rule) -> str | None:
        """Why the breach ends whatever the temperature, if so."""
        if breach.organization_id != self._watch.organization_id:
            return "unit moved to another organization"
        return "rule changed" if breach.limit is not rule.limit else None

    def _end(self, breach: Breach, at_ms: int, because: str) -> None:
        if breach.open:
            self._alerts.append(resolved(self._unit_id, breach, at_ms, None, because))

    def _announced(
        self, rule: m.Rule, old: Breach | None, new: Breach, now: list[Breach | None], at_ms: int, temperature_c: float
    ) -> Breach:
        """The firing breach `new` after the alert that it calls for at this reading, if any."""
        if old is None or not old.open:
            silent = self._silence(rule.severity, now, at_ms)
            new = replace(new, severity=rule.severity, limit_c=rule.limit_c, paging=silent is None)
            self._alerts.append(triggered(self._unit_id, new, at_ms, temperature_c, silent))
            return new
        raised = rule.severity.rank < new.severity.rank
        if new.paging and not raised:
            return new
        severity = rule.severity if raised else new.severity
        if self._silence(severity, now, at_ms) is not None:
            return new
        former_severity = new.severity
        new = replace(new, severity=severity, paging=True)
        self._alerts.append(severity_raised(self._unit_id, new, at_ms, temperature_c, former_severity))
        return new

    def _silence(self, severity: m.Severity, now: list[Breach | None], at_ms: int) -> Silent | None:
        if self._watch.in_maintenance(at_ms):
            return Silent.MAINTENANCE
        if severity is not m.Severity.CRITICAL and any(
            breach is not None and breach.open and breach.severity is m.Severity.CRITICAL for breach in now
        ):
            return Silent.INHIBITED
        return Silent.LATE if at_ms < self._live_from_ms else None
