"""Whether a page that was sent still has its person."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas import messages as m


def number_mark(contact: m.Contact | None) -> str:
    """Tells a contact's number from another one, without being it."""
    if contact is None or contact.phone_e164 is None:
        return ""
    return hashlib.sha256(f"{contact.user_id}|{contact.phone_e164}".encode()).hexdigest()[:12]


def why_lost(contact: m.Contact | None, paged_mark: str | None) -> str | None:
    """Why a page sent to the number of `paged_mark` no longer reaches its person; None while it does.

    Going off duty is no reason: whoever was paged knows of the alert. None as a mark is of an earlier version.
    """
    if contact is None:
        return "removed"
    if contact.sms_opted_out:
        return "opted_out"
    if paged_mark is not None and number_mark(contact) != paged_mark:
        return "renumbered"
    return None
