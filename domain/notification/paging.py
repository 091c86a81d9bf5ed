"""Which alerts ring phones, whom an organization has, and the ids of what it is told beside its escalation."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from domain.identity import derived_id
from schemas import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterable

Roster = dict[str, tuple[m.Contact, ...]]


def roster(contacts: Iterable[m.Contact]) -> Roster:
    """The contacts of each organization, by user id, so that a re-run tells people in the same order."""
    found: defaultdict[str, list[m.Contact]] = defaultdict(list)
    for contact in contacts:
        found[contact.organization_id].append(contact)
    return {organization: tuple(sorted(of, key=lambda c: c.user_id)) for organization, of in found.items()}


def pages(alert: m.Alert) -> bool:
    """Whether this event makes somebody's phone ring: a paging trigger, or a silent alert that began to page."""
    return (isinstance(alert, m.AlertTriggered) and alert.paging) or isinstance(alert, m.SeverityRaised)


def worse_request_id(alert_id: str, user_id: str, severity: m.Severity) -> str:
    """The SMS that tells somebody that an alert, known to page, rose to `severity`: once a severity."""
    return derived_id("sms request", alert_id, user_id, "worse", severity)


def ordered_request_id(command: m.NotifyNow, user_id: str) -> str:
    """The SMS to `user_id` that a person ordered: one an order."""
    return derived_id("sms request", command.alert_id, user_id, "ordered", command.user_id, command.at_ms)
