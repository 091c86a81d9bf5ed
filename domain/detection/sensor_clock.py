"""A unit whose readings arrive but are old, repeated or in the future: its clock is wrong, and no rule can judge it.

A unit counts as online by its newest reading that is *new* (newer than every other) and *live* (within the live
window). What arrives without such a reading is gathered here. When it goes on for as long as a unit may be offline,
`sensor_clock` is raised; the next new and live reading ends it. A gateway that sends a backlog is no such case: what
it sends comes closer to the present with every record, and then the time begins again.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from domain.detection.alert_events import AboutAlert, about_alert
from domain.detection.offline import MAINTENANCE, in_maintenance, offline_at_ms
from schemas import messages as m

CATCHES_UP_MS = 60_000
NO_READINGS = "no more readings arrive"


class StaleReadings(Struct, frozen=True, array_like=True, gc=False):
    """What arrived since the last new and live reading; all times are the worker's clock.

    That reading came at `live_at_ms`. `offset_ms` is how far the clock is ahead (behind, when negative).
    `announced`: an alert is open, which pages if `paging`.
    """

    organization_id: str
    live_at_ms: int
    since_at_ms: int
    arrived_at_ms: int
    arrivals: int
    offset_ms: int
    announced: bool = False
    paging: bool = False
    severity: m.Severity = m.Severity.WARNING


def arrived(
    stale: StaleReadings | None, organization_id: str, live_at_ms: int, now_ms: int, newest_ms: int
) -> StaleReadings:
    """Add an arrival whose newest reading is of `newest_ms`."""
    offset_ms = newest_ms - now_ms
    if stale is None:
        return StaleReadings(organization_id, live_at_ms, now_ms, now_ms, 1, offset_ms)
    if not stale.announced and abs(offset_ms) < abs(stale.offset_ms) - CATCHES_UP_MS:
        return StaleReadings(organization_id, stale.live_at_ms, now_ms, now_ms, 1, offset_ms)
    offset_ms = max(offset_ms, stale.offset_ms, key=abs)
    return replace(stale, arrived_at_ms=now_ms, arrivals=stale.arrivals + 1, offset_ms=offset_ms)


def still_arrive(stale: StaleReadings, config: m.UnitConfig, now_ms: int) -> bool:
    """Whether the unit sends, so that it is not offline. One stray repetition does not put that off."""
    return stale.arrivals > 1 and now_ms < offline_at_ms(config, stale.arrived_at_ms)


def decide(
    unit_id: str, stale: StaleReadings, config: m.UnitConfig, judged_from_ms: int, now_ms: int
) -> tuple[StaleReadings, list[m.Alert]]:
    """The alert that is due while readings `still_arrive`, if any."""
    due_ms = offline_at_ms(config, stale.since_at_ms)
    if stale.paging or now_ms < max(due_ms, judged_from_ms):
        return stale, []
    paging = not in_maintenance(config, now_ms)
    if not stale.announced:
        after = replace(stale, announced=True, paging=paging, severity=config.offline_severity)
        begun = m.AlertTriggered(
            **_about(unit_id, after),
            at_ms=due_ms,
            clock_offset_s=_seconds(after),
            paging=paging,
            silent_because=None if paging else MAINTENANCE,
        )
        return after, [begun]
    if not paging:
        return stale, []
    after = replace(stale, paging=True)
    raised = m.SeverityRaised(
        **_about(unit_id, after), at_ms=now_ms, clock_offset_s=_seconds(after), former_severity=after.severity
    )
    return after, [raised]


def ended(unit_id: str, stale: StaleReadings | None, at_ms: int, because: str = "recovered") -> list[m.Alert]:
    if stale is None or not stale.announced:
        return []
    return [m.AlertResolved(**_about(unit_id, stale), at_ms=at_ms, clock_offset_s=_seconds(stale), because=because)]


def offset_in_words(offset_s: int) -> str:
    """Such as "2 h behind" or "12 min ahead", in the largest unit that fits."""
    seconds = abs(offset_s)
    for length_s, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= length_s:
            return f"{seconds // length_s} {name} {'behind' if offset_s < 0 else 'ahead'}"
    return f"{seconds} s {'behind' if offset_s < 0 else 'ahead'}"


def _seconds(stale: StaleReadings) -> int:
    return round(stale.offset_ms / 1000)


def _about(unit_id: str, stale: StaleReadings) -> AboutAlert:
    kind = m.AlertKind.SENSOR_CLOCK
    return about_alert(unit_id, stale.organization_id, kind.value, kind, stale.severity, stale.since_at_ms)
