"""What a unit's tile says: a pure function of its configuration, its newest reading and its open alerts."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct

from domain.digest import words
from domain.notification.sms_text import is_offline
from schemas import messages as m

if TYPE_CHECKING:
    from collections.abc import Sequence


class TileState(Enum):
    """Worst first; the value is the word that the tile shows."""

    CRITICAL = "Critical"
    WARM = "Out of range"
    WARNING = "Warning"
    OFFLINE = "No readings"
    INFO = "Notice"
    UNKNOWN = "Nothing yet"
    GOOD = "In range"


_RANK = {state: rank for rank, state in enumerate(TileState)}
_BY_SEVERITY = {
    m.Severity.CRITICAL: TileState.CRITICAL,
    m.Severity.WARNING: TileState.WARNING,
    m.Severity.INFO: TileState.INFO,
}


class Fact(Struct, frozen=True, kw_only=True):
    """A unit as its tile needs it. Limits are the narrowest of its rules, in °C; `patience_ms` is after how long
    without a reading its last value no longer counts.
    """

    unit_id: str
    name: str
    site: str
    high_c: float | None
    low_c: float | None
    patience_ms: int


class OpenAlert(Struct, frozen=True, kw_only=True):
    """An alert that fires, as a tile shows it."""

    alert_id: str
    kind: m.AlertKind
    severity: m.Severity
    started_at_ms: int
    acknowledged_by: str | None = None


class Tile(Struct, frozen=True, kw_only=True):
    """`at_ms` is the newest reading's; `stale` says that the temperature is too old to be shown as the present one."""

    fact: Fact
    state: TileState
    at_ms: int | None
    temperature_c: float | None
    stale: bool
    line: Sequence[float | None]
    alert: OpenAlert | None
    alerts: int

    @property
    def rank(self) -> tuple[int, str]:
        """The place in a list with the worst first."""
        return _RANK[self.state], self.fact.name.casefold()

    @property
    def needs_attention(self) -> bool:
        return self.state not in (TileState.GOOD, TileState.INFO)

    def age(self, now_ms: int) -> str:
        """How long ago the newest reading was, in words."""
        if self.at_ms is None:
            return "no reading yet"
        since_ms = max(0, now_ms - self.at_ms)
        return "now" if since_ms < 10_000 else f"{words.duration(since_ms)} ago"

    def said(self, display_unit: str) -> str:
        """The temperature, or why none is shown."""
        if self.temperature_c is None:
            return "—"
        return words.temperature(self.temperature_c, display_unit)


def tile(
    fact: Fact,
    at_ms: int | None,
    temperature_c: float | None,
    line: Sequence[float | None],
    alerts: Sequence[OpenAlert],
    now_ms: int,
) -> Tile:
    """The tile at `now_ms`, by the wall clock."""
    stale = at_ms is None or now_ms - at_ms > fact.patience_ms
    worst = min(alerts, key=lambda alert: (alert.severity.rank, alert.started_at_ms), default=None)
    return Tile(
        fact=fact,
        state=_state(fact, temperature_c, worst, known=at_ms is not None, stale=stale),
        at_ms=at_ms,
        temperature_c=temperature_c,
        stale=stale,
        line=line,
        alert=worst,
        alerts=len(alerts),
    )


def _state(fact: Fact, temperature_c: float | None, worst: OpenAlert | None, *, known: bool, stale: bool) -> TileState:
    if worst is not None:
        found = _BY_SEVERITY[worst.severity]
        return TileState.OFFLINE if is_offline(worst.kind) and found is not TileState.CRITICAL else found
    if stale:
        return TileState.OFFLINE if known else TileState.UNKNOWN
    if temperature_c is not None and _out_of_range(fact, temperature_c):
        return TileState.WARM
    return TileState.GOOD


def _out_of_range(fact: Fact, temperature_c: float) -> bool:
    above = fact.high_c is not None and temperature_c > fact.high_c
    return above or (fact.low_c is not None and temperature_c < fact.low_c)


def in_order(tiles: Sequence[Tile]) -> list[Tile]:
    """The worst first, equals by name."""
    return sorted(tiles, key=lambda one: one.rank)


def site_in_words(tiles: Sequence[Tile]) -> str:
    """Such as "2 of 14 need attention"."""
    bad = sum(one.needs_attention for one in tiles)
    return f"{bad:,} of {len(tiles):,} need attention" if bad else f"all {len(tiles):,} in range"
