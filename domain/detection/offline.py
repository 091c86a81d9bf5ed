"""A unit that misses its expected interval k times, and a gateway all of whose units did.

Each partition of `readings` knows when its units last reported; a gateway's units are spread over many. So a partition
only reports that a unit is offline or online again, under the key of the unit's *group* (its gateway, or the unit
alone), and the group's state decides about alerts:

* All units of a gateway with more than one: one `gateway_offline`, from the moment at which the last of them reported,
  under the id of the first of its units and with the highest severity that one of them has for being offline. While
  it is open, the units behind it get no alerts of their own.
* Otherwise `sensor_offline` for each offline unit; behind a gateway with others only after one more expected interval,
  for its neighbours may be about to go offline too. When a gateway comes back, its units get that time again.
* While a maintenance window covers the unit (all units of the gateway), the alert is recorded and does not page; one
  that outlasts the window begins to page (SeverityRaised).

Limits: a gateway of units with very different intervals may first raise alerts for its fast units and then one as a
whole, and a gateway with one unit is treated as a sensor, for the two cannot be told apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct
from msgspec.structs import replace

from domain.detection.alert_events import AboutAlert, about_alert
from schemas import messages as m
from schemas.messages.reading_bounds import LONGEST_VOUCH_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAINTENANCE = "maintenance window"
# A worker looks at each of its units at least this often.
LOOK_WITHIN_MS = 20_000


class Measured(Protocol):
    """How often a unit should be heard of; its configuration is one, and so is its row in the database."""

    @property
    def expected_interval_s(self) -> int: ...
    @property
    def offline_after_missed(self) -> int: ...


def group_of(config: m.UnitConfig) -> str:
    """The key under which the unit is judged together with its neighbours."""
    if config.gateway_id is None:
        return f"unit:{config.unit_id}"
    # Two organizations may call their gateways alike; no organization has a slash in its id.
    return f"gateway:{config.organization_id}/{config.gateway_id}"


def patience_ms(config: Measured) -> int:
    """How long nothing may come; a reading vouches for its unit as long."""
    return min(config.expected_interval_s * config.offline_after_missed * 1000, LONGEST_VOUCH_MS)


def offline_at_ms(config: m.UnitConfig, last_at_ms: int) -> int:
    """When a unit counts as offline if nothing comes after `last_at_ms`: k missed intervals, and its own delay."""
    return last_at_ms + patience_ms(config) + config.offline_delay_s * 1000


def judged_from_ms(config: m.UnitConfig, connected_since_ms: int) -> int:
    """From when on a worker in contact with the broker since `connected_since_ms` may call the unit offline.

    Whatever the outage was, a healthy unit reports within two expected intervals after it.
    """
    return connected_since_ms + min(2 * config.expected_interval_s * 1000, patience_ms(config))


def in_maintenance(config: m.UnitConfig, at_ms: int) -> bool:
    return any(window.starts_at_ms <= at_ms < window.ends_at_ms for window in config.maintenance)


class OfflineUnit(Struct, frozen=True, array_like=True, gc=False):
    """`noted_at_ms` is when the group learned of it; `announced`: an alert is open, which pages if `paging`."""

    unit_id: str
    organization_id: str
    since_at_ms: int
    at_ms: int
    noted_at_ms: int
    announced: bool = False
    paging: bool = False
    severity: m.Severity = m.Severity.WARNING


class OfflineGateway(Struct, frozen=True, array_like=True, gc=False):
    """An open alert about a gateway."""

    unit_id: str
    organization_id: str
    since_at_ms: int
    at_ms: int
    paging: bool
    severity: m.Severity = m.Severity.WARNING


class Group(Struct, frozen=True, array_like=True, gc=False):
    """What is remembered of a group. `applied_offset` is the newest offset that this contains."""

    applied_offset: int = -1
    offline: tuple[OfflineUnit, ...] = ()
    gateway: OfflineGateway | None = None
    recovered_at_ms: int = 0

    @property
    def undecided(self) -> bool:
        """Whether time alone may change something."""
        if self.gateway is not None:
            return not self.gateway.paging
        return any(not (unit.announced and unit.paging) for unit in self.offline)


def apply(group: Group, event: m.UnitConnectivity, offset: int, noted_at_ms: int, alerts: list[m.Alert]) -> Group:
    """Apply one event; what it ends is added to `alerts`. A record at or below the applied offset changes nothing."""
    if offset <= group.applied_offset:
        return group
    known = next((unit for unit in group.offline if unit.unit_id == event.unit_id), None)
    others = tuple(unit for unit in group.offline if unit.unit_id != event.unit_id)
    if isinstance(event, m.UnitOffline):
        if known is not None and known.since_at_ms == event.since_at_ms:
            return replace(group, applied_offset=offset)
        fresh = OfflineUnit(event.unit_id, event.organization_id, event.since_at_ms, event.at_ms, noted_at_ms)
        if known is not None and known.announced:
            alerts.append(_resolved(known, event.since_at_ms, "recovered"))
        return replace(group, applied_offset=offset, offline=(*others, fresh))
    if known is not None and known.announced:
        alerts.append(_resolved(known, event.at_ms, event.because))
    gateway, recovered_at_ms = group.gateway, group.recovered_at_ms
    if gateway is not None and known is not None and (event.because == "recovered" or not others):
        alerts.append(_resolved(gateway, event.at_ms, event.because))
        gateway, recovered_at_ms = None, noted_at_ms
    return Group(offset, others, gateway, recovered_at_ms)


def decide(group: Group, units: Sequence[m.UnitConfig], now_ms: int) -> tuple[Group, list[m.Alert]]:
    """The alerts that are due. `units` are those that the configuration has in the group."""
    if not group.offline or not units:
        return group, []
    if group.gateway is not None:
        return _gateway_again(group, group.gateway, units, now_ms)
    offline = {unit.unit_id for unit in group.offline}
    if len(units) > 1 and all(unit.unit_id in offline for unit in units):
        return _gateway_offline(group, units, now_ms)
    alerts: list[m.Alert] = []
    configs = {config.unit_id: config for config in units}
    after = tuple(
        _unit_offline(unit, configs.get(unit.unit_id), len(units) > 1, group.recovered_at_ms, now_ms, alerts)
        for unit in group.offline
    )
    return (replace(group, offline=after), alerts) if alerts else (group, alerts)


def _unit_offline(
    unit: OfflineUnit,
    config: m.UnitConfig | None,
    has_neighbours: bool,  # noqa: FBT001
    recovered_at_ms: int,
    now_ms: int,
    alerts: list[m.Alert],
) -> OfflineUnit:
    if config is None or (unit.announced and unit.paging):
        return unit
    paging = not in_maintenance(config, now_ms)
    if unit.announced:
        if paging:
            alerts.append(_begins_to_page(unit, now_ms))
        return replace(unit, paging=paging)
    if has_neighbours:
        settled_ms = unit.noted_at_ms + config.expected_interval_s * 1000 + LOOK_WITHIN_MS
        if now_ms < settled_ms or (recovered_at_ms and now_ms < recovered_at_ms + patience_ms(config)):
            return unit
    unit = replace(unit, announced=True, paging=paging, severity=config.offline_severity)
    alerts.append(_triggered(unit))
    return unit


def _gateway_offline(group: Group, units: Sequence[m.UnitConfig], now_ms: int) -> tuple[Group, list[m.Alert]]:
    first = min(units, key=lambda config: config.unit_id)
    gateway = OfflineGateway(
        unit_id=first.unit_id,
        organization_id=first.organization_id,
        since_at_ms=max(unit.since_at_ms for unit in group.offline),
        at_ms=max(unit.at_ms for unit in group.offline),
        paging=not all(in_maintenance(config, now_ms) for config in units),
        severity=min((config.offline_severity for config in units), key=lambda severity: severity.rank),
    )
    return replace(group, gateway=gateway), [_triggered(gateway)]


def _gateway_again(
    group: Group, gateway: OfflineGateway, units: Iterable[m.UnitConfig], now_ms: int
) -> tuple[Group, list[m.Alert]]:
    if gateway.paging or all(in_maintenance(config, now_ms) for config in units):
        return group, []
    gateway = replace(gateway, paging=True)
    return replace(group, gateway=gateway), [_begins_to_page(gateway, now_ms)]


def _about(of: OfflineUnit | OfflineGateway) -> AboutAlert:
    kind = m.AlertKind.SENSOR_OFFLINE if isinstance(of, OfflineUnit) else m.AlertKind.GATEWAY_OFFLINE
    return about_alert(of.unit_id, of.organization_id, kind.value, kind, of.severity, of.since_at_ms)


def _triggered(of: OfflineUnit | OfflineGateway) -> m.AlertTriggered:
    return m.AlertTriggered(
        **_about(of),
        at_ms=of.at_ms,
        paging=of.paging,
        silent_because=None if of.paging else MAINTENANCE,
    )


def _begins_to_page(of: OfflineUnit | OfflineGateway, now_ms: int) -> m.SeverityRaised:
    return m.SeverityRaised(
        **_about(of),
        at_ms=now_ms,
        former_severity=of.severity,
    )


def _resolved(of: OfflineUnit | OfflineGateway, at_ms: int, because: str) -> m.AlertResolved:
    return m.AlertResolved(
        **_about(of),
        at_ms=at_ms,
        because=because,
    )
