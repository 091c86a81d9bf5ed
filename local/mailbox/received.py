"""The parts of a received mail: its headers, the rendered page, the text part, attachments."""

from __future__ import annotations

import base64
import re
from email import message_from_bytes
from email.policy import default
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from email.message import EmailMessage

_CID = re.compile(r"""(?<=["'(])cid:([^"')]+)""")


class Attachment(msgspec.Struct, frozen=True):
    """An attached file; `size` is in bytes."""

    file_name: str
    content_type: str
    size: int


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """A mail as the list shows it. `copies` counts how often a mail of this Message-ID arrived."""

    number: int
    at_ms: int
    message_id: str
    sender: str
    to: list[str]
    subject: str
    copies: int = 1
    attachments: list[Attachment] = []
    unsubscribe: str = ""


def received(number: int, at_ms: int, recipients: list[str], raw: bytes) -> Received:
    message = parse(raw)
    return Received(
        number=number,
        at_ms=at_ms,
        message_id=str(message["Message-ID"] or ""),
        sender=str(message["From"] or ""),
        to=recipients,
        subject=str(message["Subject"] or ""),
        attachments=[
            Attachment(part.get_filename() or "", part.get_content_type(), len(_content(part)))
            for part in message.iter_attachments()
        ],
        unsubscribe=str(message["List-Unsubscribe"] or "").strip("<>"),
    )


def parse(raw: bytes) -> EmailMessage:
    return message_from_bytes(raw, policy=default)


def text_of(message: EmailMessage) -> str:
    """The text part; empty if there is none."""
    part = message.get_body(("plain",))
    return "" if part is None else str(part.get_content())


def html_of(message: EmailMessage) -> str:
    """The HTML part with its pictures inside, so that it shows without a mail program; empty if there is none.

    A picture that the mail lacks keeps its `cid:` address, and shows as broken, as it would anywhere.
    """
    part = message.get_body(("html",))
    if part is None:
        return ""
    pictures = {
        str(inner["Content-ID"]).strip("<>"): inner for inner in message.walk() if inner["Content-ID"] is not None
    }

    def inlined(match: re.Match[str]) -> str:
        picture = pictures.get(match[1])
        if picture is None:
            return match[0]
        return f"data:{picture.get_content_type()};base64,{base64.b64encode(_content(picture)).decode()}"

    return _CID.sub(inlined, str(part.get_content()))


def attachment_of(message: EmailMessage, number: int) -> tuple[Attachment, bytes]:
    """The `number`-th attachment, from 0; raises IndexError."""
    part = list(message.iter_attachments())[number]
    content = _content(part)
    return Attachment(part.get_filename() or "", part.get_content_type(), len(content)), content


def _content(part: EmailMessage) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""
