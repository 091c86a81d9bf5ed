"""Who was considered for a page and not asked, and why: recorded at the time, so that nobody need infer it later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterable

    from domain.notification.escalation import Level

MOST_NAMED = 200


def not_asked(contacts: Iterable[m.Contact], severity: m.Severity, level: Level) -> tuple[m.NotAsked, ...]:
    """The contacts of an organization that a step to `level` passes over; at most `MOST_NAMED` of them.

    Whoever is asked and has no number, opted out or is limited shows in the outcome of that SMS.
    """
    found = [
        m.NotAsked(contact.user_id, _why(contact, severity, level))
        for contact in contacts
        if contact.user_id not in level.user_ids
    ]
    return tuple(found[:MOST_NAMED])


def _why(contact: m.Contact, severity: m.Severity, level: Level) -> m.NotAskedBecause:
    if not contact.on_duty:
        return m.NotAskedBecause.OFF_DUTY
    if not contact.minimum_severity.admits(severity):
        return m.NotAskedBecause.SEVERITY
    if contact.escalation_level > level.number:
        return m.NotAskedBecause.LATER_LEVEL
    return m.NotAskedBecause.EARLIER_LEVEL
