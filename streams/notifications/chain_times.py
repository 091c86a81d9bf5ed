"""How long the levels of an organization's chain have to answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from domain.notification.escalation import Times
    from schemas import messages as m
    from streams.engine.interfaces import Entries


class ChainTimes:
    """The deployment's times, with the delay that an organization chose for itself."""

    def __init__(self, times: Times, organizations: Entries[m.Organization]) -> None:
        self._times = times
        self._organizations = organizations

    def lapse_ms(self, severity: m.Severity) -> int | None:
        """After what an acknowledgement no longer counts; None where it is final."""
        return self._times.of(severity).lapse_ms

    def of(self, organization_id: str, severity: m.Severity) -> Times:
        times = self._times.of(severity)
        organization = self._organizations.get(organization_id)
        # An organization that is not in the topic yet has the deployment's delay.
        if organization is None or organization.escalation_wait_s is None:
            return times
        return msgspec.structs.replace(times, wait_ms=organization.escalation_wait_s * 1000)
