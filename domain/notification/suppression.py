"""Why a message is not sent to a person at all: opted out, unsubscribed, or no number or address to send it to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.notification.decisions import Cancelled, Dead, DeadReason, OptedOut, Unreachable
from domain.notification.phone import phone_problem

if TYPE_CHECKING:
    from schemas import messages as m


def sms_suppression(contact: m.Contact | None) -> Unreachable | None:
    """Why `contact` cannot be texted, or None."""
    if contact is None:
        return _no_contact()
    if contact.sms_opted_out:
        return OptedOut()
    if contact.phone_e164 is None:
        return Dead(DeadReason.NO_PHONE, "no_phone", "the contact has no phone number")
    if problem := phone_problem(contact.phone_e164):
        return Dead(DeadReason.BAD_PHONE, "bad_phone", f"the contact's phone number is {problem}")
    return None


def mail_suppression(
    request: m.EmailRequest, contact: m.Contact | None, preference: m.DigestPreference | None
) -> Cancelled | Dead | None:
    """Why a digest cannot, or must not, be mailed, or None.

    Whoever unsubscribed or paused after the mail was queued does not get it; a digest that a person asked for needs no
    preference.
    """
    if not request.asked_for and (
        preference is None or preference.paused or request.cadence not in preference.cadences
    ):
        return Cancelled("user unsubscribed from or paused this digest")
    if contact is None:
        return _no_contact()
    if not contact.email:
        return Dead(DeadReason.NO_ADDRESS, "no_address", "the contact has no e-mail address")
    return None


def _no_contact() -> Dead:
    return Dead(DeadReason.NO_CONTACT, "no_contact", "the user is not among the contacts")
