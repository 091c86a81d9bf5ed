"""How urgent an alert is, and of which kind."""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """How urgent an alert is; each severity has its own SMS lane."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 is the most urgent."""
        return SEVERITIES.index(self)

    def admits(self, other: Severity) -> bool:
        """Whether someone who wants at least `self` is notified of `other`."""
        return other.rank <= self.rank


SEVERITIES = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)


class AlertKind(StrEnum):
    """The alert type: the rate limit allows one SMS per user and kind in its window."""

    TEMPERATURE_HIGH = "temperature_high"
    TEMPERATURE_LOW = "temperature_low"
    SENSOR_OFFLINE = "sensor_offline"
    GATEWAY_OFFLINE = "gateway_offline"
    SENSOR_CLOCK = "sensor_clock"
