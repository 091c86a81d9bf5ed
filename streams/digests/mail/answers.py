"""What a provider said to one mail, and what that means for trying again.

The classes are those of SMS (`streams/notifications/telnyx/codes.py`), so that one retry policy serves both.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from domain.notification.error_class import ErrorClass

if TYPE_CHECKING:
    from streams.digests.report.rendered_digest import Mail


class Taken(Struct, frozen=True):
    """The provider has the mail; `provider_message_id` is its own name for it, or empty."""

    provider_message_id: str = ""


class Refused(Struct, frozen=True):
    """The provider answered, and has not taken the mail. `code` is such as `smtp-550` or `http-429`."""

    error_class: ErrorClass
    code: str
    detail: str
    retry_after_s: float | None = None


class Silence(StrEnum):
    NOT_CONNECTED = "not_connected"
    TIMEOUT = "timeout"
    CONNECTION_LOST = "connection_lost"


class Unanswered(Struct, frozen=True):
    """No answer came. Unless no connection was made, the provider may have the mail all the same.

    A second copy of a summary harms nobody, so it is simply tried again; the `Message-ID` is the same, by which mail
    programs and providers recognize the copy.
    """

    kind: Silence
    detail: str

    @property
    def may_have_arrived(self) -> bool:
        return self.kind is not Silence.NOT_CONNECTED


Answer = Taken | Refused | Unanswered


class Provider(Protocol):
    """One way to get a mail out. `send` raises nothing that a network or a provider can cause."""

    name: str

    async def send(self, mail: Mail) -> Answer: ...

    async def close(self) -> None: ...


def http_class(status: int) -> ErrorClass:
    """The class of an HTTP status by itself; a provider may know better from its error's text."""
    if status == 429:
        return ErrorClass.THROTTLED
    if status in (401, 402, 403, 404):
        return ErrorClass.CONFIGURATION
    if status == 413:
        return ErrorClass.MESSAGE
    if status >= 500 or status in (408, 425):
        return ErrorClass.TRANSIENT
    if status in (400, 422):
        return ErrorClass.MESSAGE
    return ErrorClass.UNKNOWN


def smtp_class(code: int, text: str, *, about_recipient: bool) -> ErrorClass:
    """The class of an SMTP reply (RFC 5321 section 4.2, enhanced codes of RFC 3463).

    `about_recipient`: the reply was to RCPT. There a permanent refusal concerns the one address, elsewhere our set-up
    or the message.
    """
    enhanced = text.split(" ", 1)[0] if text[:1] in "245" else ""
    if code in (421, 450, 451, 452) or 400 <= code < 500:
        return ErrorClass.THROTTLED if enhanced.startswith("4.7.") or code == 452 else ErrorClass.TRANSIENT
    if code in (530, 534, 535, 538) or enhanced.startswith("5.7.8"):
        return ErrorClass.CONFIGURATION
    if code == 552 or enhanced.startswith(("5.3.4", "5.2.3")):
        return ErrorClass.MESSAGE
    if about_recipient:
        # 5.7.x to RCPT is a policy about us as often as about the address: a person must look.
        return ErrorClass.ASK_A_PERSON if enhanced.startswith("5.7.") else ErrorClass.RECIPIENT
    if enhanced.startswith("5.7.") or code in (550, 553):
        return ErrorClass.CONFIGURATION
    return ErrorClass.MESSAGE if 500 <= code < 600 else ErrorClass.UNKNOWN
