"""A page as a mail: plain words, no link to unsubscribe from, for it stands beside an SMS that somebody is paged by."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from domain.notification.decisions import Dead, DeadReason
from streams.digests.report.rendered_digest import AddressError, Mail, Mailbox

if TYPE_CHECKING:
    from schemas import messages as m


def page_mail(page: m.PageEmail, contact: m.Contact | None, sender: Mailbox) -> Mail | Dead:
    """The mail, or why there is none."""
    if contact is None:
        return Dead(DeadReason.NO_CONTACT, "no_contact", "the user is not among the contacts")
    if not contact.email:
        return Dead(DeadReason.NO_ADDRESS, "no_address", "the contact has no e-mail address")
    recipient = Mailbox(contact.email, contact.name)
    try:
        recipient.header()
    except AddressError as error:
        return Dead(DeadReason.BAD_ADDRESS, "bad_address", str(error))
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in page.text.splitlines() if line)
    return Mail(
        mail_id=page.request_id,
        sender=sender,
        recipient=recipient,
        subject=page.subject,
        html=f"<html><body>{paragraphs}</body></html>",
        text=f"{page.text}\n",
        enclosures=(),
        unsubscribe_url=None,
    )
