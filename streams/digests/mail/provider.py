"""How the replies of mail providers are classed, by HTTP and by SMTP, and what a provider is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from domain.notification.error_class import ErrorClass

if TYPE_CHECKING:
    from domain.notification.answers import Answer
    from streams.digests.report.rendered_digest import Mail


class Provider(Protocol):
    """One way to get a mail out. `send` raises nothing that a network or a provider can cause."""

    name: str

    async def send(self, mail: Mail) -> Answer: ...

    async def close(self) -> None: ...


_BY_STATUS = {
    400: ErrorClass.MESSAGE,
    401: ErrorClass.CONFIGURATION,
    402: ErrorClass.CONFIGURATION,
    403: ErrorClass.CONFIGURATION,
    404: ErrorClass.CONFIGURATION,
    408: ErrorClass.TRANSIENT,
    413: ErrorClass.MESSAGE,
    422: ErrorClass.MESSAGE,
    425: ErrorClass.TRANSIENT,
    429: ErrorClass.THROTTLED,
}


def http_class(status: int) -> ErrorClass:
    """The class of an HTTP status by itself; a provider may know better from its error's text."""
    return ErrorClass.UNAVAILABLE if status >= 500 else _BY_STATUS.get(status, ErrorClass.UNKNOWN)


def smtp_class(code: int, text: str, *, about_recipient: bool) -> ErrorClass:
    """The class of an SMTP reply (RFC 5321 section 4.2, enhanced codes of RFC 3463).

    `about_recipient`: the reply was to RCPT. There a permanent refusal concerns the one address, elsewhere our set-up
    or the message.
    """
    enhanced = text.split(" ", 1)[0] if text[:1] in "245" else ""
    if 400 <= code < 500:
        return _temporary(code, enhanced)
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


def _temporary(code: int, enhanced: str) -> ErrorClass:
    if enhanced.startswith("4.7.") or code == 452:
        return ErrorClass.THROTTLED
    # With 421 the server closes the channel: that is about no single mail.
    return ErrorClass.UNAVAILABLE if code == 421 else ErrorClass.TRANSIENT
