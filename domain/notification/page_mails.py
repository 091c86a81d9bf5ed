"""The words of pages by e-mail: the SMS as it stands, and why it comes this way too."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from schemas.identity import plain
from schemas.messages import PageEmailCause

if TYPE_CHECKING:
    from schemas import messages as m


def subject(request: m.SmsRequest, because: PageEmailCause) -> str:
    """Severity and unit first, as phones cut the rest."""
    what = f"{request.severity.upper()}: {request.label or plain(request.unit_id)}"
    match because:
        case PageEmailCause.SMS_NOT_ACCEPTED | PageEmailCause.SMS_IMPOSSIBLE:
            return f"{what} (by e-mail: no SMS so far)"
        case PageEmailCause.NOBODY_LEFT:
            return f"{what} (nobody has answered)"
        case PageEmailCause.OPTED_OUT_ON_DUTY:
            return what
        case _:
            assert_never(because)


def text(request: m.SmsRequest, because: PageEmailCause, waited_s: float) -> str:
    """What the SMS says, and below it why it is a mail."""
    return f"{request.text}\n\n{_why(because, waited_s)}\n"


def _why(because: PageEmailCause, waited_s: float) -> str:
    match because:
        case PageEmailCause.SMS_NOT_ACCEPTED:
            return (
                f"This page comes by e-mail as well: the SMS provider has not accepted the SMS within {waited_s:g}"
                " seconds. The SMS follows as soon as it does."
            )
        case PageEmailCause.SMS_IMPOSSIBLE:
            return "This page comes by e-mail: no SMS can be sent to you. Check your phone number and its opt-out."
        case PageEmailCause.NOBODY_LEFT:
            return "You are your organization's fallback contact: nobody else could be reached, or nobody answered."
        case PageEmailCause.OPTED_OUT_ON_DUTY:
            return "Somebody on duty gets no SMS any more."
        case _:
            assert_never(because)
