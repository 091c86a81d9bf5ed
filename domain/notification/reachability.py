"""Whether a page that was sent still has its person, and who comes after a chain that reached nobody."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from domain.notification.escalation import End

if TYPE_CHECKING:
    from collections.abc import Collection

    from domain.notification.escalation import Escalation, Level
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


def hastened(
    escalation: Escalation, levels: tuple[Level, ...], paged: Collection[str], now_ms: int
) -> Escalation | None:
    """The chain, due now, that ended with nobody reached at its last level, where somebody is on duty whom it has not
    paged yet; None for any other. A chain that somebody may have read of keeps its pause.
    """
    if escalation.ended is not End.CHAIN_ENDED or escalation.due_at_ms is None:
        return None
    nobody_reached = escalation.undelivered.issuperset(escalation.level.user_ids)
    somebody_new = any(user_id not in paged for level in levels for user_id in level.user_ids)
    return msgspec.structs.replace(escalation, due_at_ms=now_ms) if nobody_reached and somebody_new else None
