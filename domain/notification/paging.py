"""Which alerts ring phones, and whom an organization has."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from schemas import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterable

Roster = dict[str, tuple[m.Contact, ...]]


def roster(contacts: Iterable[m.Contact]) -> Roster:
    """The contacts of each organization, by user id, so that a re-run notifies people in the same order."""
    found: defaultdict[str, list[m.Contact]] = defaultdict(list)
    for contact in contacts:
        found[contact.organization_id].append(contact)
    return {organization: tuple(sorted(of, key=lambda c: c.user_id)) for organization, of in found.items()}


def pages(alert: m.Alert) -> bool:
    """Whether this event makes somebody's phone ring: a paging trigger, or a silent alert that began to page."""
    return (isinstance(alert, m.AlertTriggered) and alert.paging) or isinstance(alert, m.SeverityRaised)
