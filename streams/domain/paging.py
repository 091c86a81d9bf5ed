"""Who is told of an alert: the contacts on duty at an escalation level whose minimum severity admits it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from schemas import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Roster = dict[str, tuple[m.Contact, ...]]


def roster(contacts: Iterable[m.Contact]) -> Roster:
    """The contacts of each organization, by user id, so that a re-run tells people in the same order."""
    found: defaultdict[str, list[m.Contact]] = defaultdict(list)
    for contact in contacts:
        found[contact.organization_id].append(contact)
    return {organization: tuple(sorted(of, key=lambda c: c.user_id)) for organization, of in found.items()}


def pages(alert: m.Alert) -> bool:
    """Whether this event makes somebody's phone ring: a paging trigger, or a silent alert that began to page."""
    return (isinstance(alert, m.AlertTriggered) and alert.paging) or isinstance(alert, m.AlertEscalated)


def recipients(
    alert: m.AlertTriggered | m.AlertEscalated, contacts: Mapping[str, tuple[m.Contact, ...]], level: int
) -> list[m.Contact]:
    """The people to text about `alert` at `level` of the escalation chain; level 1 is told first."""
    return [
        contact
        for contact in contacts.get(alert.organization_id, ())
        if contact.on_duty and contact.escalation_level == level and contact.minimum_severity.admits(alert.severity)
    ]
