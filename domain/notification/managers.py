"""Who hears of it when somebody on duty can no longer be paged."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas import messages as m


def managers(contacts: Iterable[m.Contact], about: m.Contact, fallback_user_id: str | None) -> tuple[str, ...]:
    """The organization's fallback contact; where it has none, the others at its chain's highest level."""
    if fallback_user_id is not None and fallback_user_id != about.user_id:
        return (fallback_user_id,)
    others = [
        contact
        for contact in contacts
        if contact.organization_id == about.organization_id and contact.user_id != about.user_id
    ]
    highest = max((contact.escalation_level for contact in others), default=0)
    return tuple(sorted(contact.user_id for contact in others if contact.escalation_level == highest))
