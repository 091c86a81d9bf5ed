"""A rendered digest for many recipients, and one recipient's copy of it.

The costly part (charts, PDF, inlined styles) is done once in a `RenderedDigest`; a copy only fills in the recipient's
own link.
"""

from __future__ import annotations

import re
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from html import escape

from msgspec import Struct

# Placeholder in a rendered digest for the recipient's own link.
UNSUBSCRIBE = "https://links.invalid/unsubscribe"

_ADDRESS = re.compile(r"[^@\s<>,;:\\\"()\[\]]{1,64}@(?=.{1,255}$)[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


class AddressError(ValueError):
    """Not an address that a mail can be sent to."""


class Mailbox(Struct, frozen=True):
    """An address and the name that is shown with it."""

    email: str
    name: str = ""

    def header(self) -> Address:
        """Raises AddressError for what is not one plain address; names lose line breaks."""
        if not _ADDRESS.fullmatch(self.email) or not self.email.isascii():
            raise AddressError(
                f"the recipient's or sender's address has not the form name@example.com: {mask(self.email)}"
            )
        user, _, domain = self.email.rpartition("@")
        return Address(" ".join(self.name.split()), user, domain)


def mask(address: str) -> str:
    """An address as it may stand in logs and errors."""
    user, at, domain = address.rpartition("@")
    return f"{user[:1]}***{at}{domain}" if at else "***"


class Enclosure(Struct, frozen=True):
    """A file; with a `cid` it is a picture in the HTML part, without one an attachment."""

    file_name: str
    content_type: str
    content: bytes
    cid: str | None = None


class RenderedDigest(Struct, frozen=True):
    """What all recipients get; UNSUBSCRIBE marks where each one's own link goes."""

    subject: str
    html: str
    text: str
    enclosures: tuple[Enclosure, ...] = ()


class Mail(Struct, frozen=True, kw_only=True):
    """One recipient's mail. `mail_id` is the same in every attempt, so that a repetition can be recognized."""

    mail_id: str
    sender: Mailbox
    recipient: Mailbox
    subject: str
    html: str
    text: str
    enclosures: tuple[Enclosure, ...]
    unsubscribe_url: str | None

    @property
    def message_id(self) -> str:
        return f"<{self.mail_id}@{self.sender.email.rpartition('@')[2]}>"

    def headers(self) -> dict[str, str]:
        """One-click unsubscription (RFC 8058, RFC 2369) where there is any, and no automatic replies (RFC 3834)."""
        headers = {"Auto-Submitted": "auto-generated"}
        if self.unsubscribe_url is None:
            return headers
        return headers | {
            "List-Unsubscribe": f"<{self.unsubscribe_url}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }

    def mime(self) -> EmailMessage:
        """The whole message: mixed(alternative(text, related(html, pictures)), attachments)."""
        message = EmailMessage(policy=SMTP)
        message["Subject"] = self.subject
        message["From"] = self.sender.header()
        message["To"] = self.recipient.header()
        message["Message-ID"] = self.message_id
        for name, value in self.headers().items():
            message[name] = value
        message.set_content(self.text)
        message.add_alternative(self.html, subtype="html")
        *_, html = message.iter_parts()
        assert isinstance(html, EmailMessage)
        for enclosure in self.enclosures:
            main, _, sub = enclosure.content_type.partition("/")
            if enclosure.cid:
                html.add_related(
                    enclosure.content,
                    main,
                    sub,
                    cid=f"<{enclosure.cid}>",
                    filename=enclosure.file_name,
                    disposition="inline",
                )
            else:
                message.add_attachment(enclosure.content, main, sub, filename=enclosure.file_name)
        return message


def copy_for(
    rendered: RenderedDigest,
    *,
    mail_id: str,
    sender: Mailbox,
    recipient: Mailbox,
    unsubscribe_url: str,
) -> Mail:
    """One recipient's mail; raises AddressError for an address that no mail can be sent to."""
    recipient.header()
    sender.header()
    return Mail(
        mail_id=mail_id,
        sender=sender,
        recipient=recipient,
        subject=rendered.subject,
        html=rendered.html.replace(UNSUBSCRIBE, escape(unsubscribe_url)),
        text=rendered.text.replace(UNSUBSCRIBE, unsubscribe_url),
        enclosures=rendered.enclosures,
        unsubscribe_url=unsubscribe_url,
    )
