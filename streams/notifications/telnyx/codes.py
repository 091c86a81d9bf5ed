"""Telnyx error codes, one row each, and what each says about trying again.

Codes and titles: Telnyx, "Messaging Error Codes" (support article 6505121) and the message API's error list. A code
may come at once in the HTTP answer or later in a receipt; it means the same.

A lane is paused only where the cause cannot lie in one recipient or one text: a pause holds back everybody, so a
single bad contact must never bring it about. What is neither clearly the recipient nor clearly our set-up goes to a
person.
"""

from __future__ import annotations

from typing import NamedTuple

from domain.notification.answers import Refused
from domain.notification.error_class import ErrorClass


class CodeRow(NamedTuple):
    """One error code. `notify_ops`: somebody in operations must look at it."""

    code: str
    title: str
    error_class: ErrorClass
    notify_ops: bool


_C = ErrorClass


def _row(code: str, title: str, error_class: ErrorClass, *, notify_ops: bool | None = None) -> CodeRow:
    by_class = error_class in (_C.MESSAGE, _C.CONFIGURATION, _C.ASK_A_PERSON)
    return CodeRow(code, title, error_class, by_class if notify_ops is None else notify_ops)


TABLE: tuple[CodeRow, ...] = (
    # The request
    _row("10001", "Inactive phone number", _C.RECIPIENT),
    _row("10002", "Invalid phone number", _C.RECIPIENT),
    _row("10003", "Invalid URL", _C.CONFIGURATION),  # the webhook's: the same with every message
    _row("10004", "Missing required parameter", _C.MESSAGE),
    _row("10005", "Resource not found", _C.CONFIGURATION),  # the address or the profile
    _row("10006", "Invalid ID", _C.CONFIGURATION),  # the profile's: the only id in the request
    _row("10007", "Unexpected error", _C.TRANSIENT),
    _row("10009", "Authentication failed", _C.CONFIGURATION),
    _row("10010", "Authorization failed", _C.CONFIGURATION),
    _row("10011", "Too many requests", _C.THROTTLED),
    _row("10015", "Bad request", _C.MESSAGE),
    _row("10016", "Phone number must be in +E.164 format", _C.RECIPIENT),
    # The account
    _row("20002", "API key revoked", _C.CONFIGURATION),
    _row("20006", "Expired access token", _C.CONFIGURATION),
    _row("20012", "Account inactive", _C.CONFIGURATION),
    _row("20013", "Account blocked", _C.CONFIGURATION),
    _row("20014", "Account unverified", _C.CONFIGURATION),
    _row("20015", "Feature not enabled", _C.CONFIGURATION),
    _row("20017", "Account not level 2 verified", _C.CONFIGURATION),
    _row("20100", "Insufficient funds", _C.CONFIGURATION),
    # Delivery
    _row("40001", "Not routable", _C.RECIPIENT),  # a landline, say
    _row("40002", "Blocked as spam, temporary", _C.THROTTLED),  # insisting at once makes it permanent
    _row("40003", "Blocked as spam, permanent", _C.ASK_A_PERSON),
    _row("40004", "Rejected by destination", _C.RECIPIENT),
    _row("40005", "Message expired during transmission", _C.TRANSIENT),
    _row("40006", "Recipient server unavailable", _C.TRANSIENT),
    _row("40008", "Undeliverable", _C.TRANSIENT),
    _row("40009", "Invalid message body", _C.MESSAGE),
    _row("40010", "Unregistered 10DLC message", _C.CONFIGURATION),
    _row("40011", "Too many requests", _C.THROTTLED),
    _row("40012", "Invalid messaging destination number", _C.RECIPIENT),
    _row("40013", "Invalid messaging source number", _C.CONFIGURATION),
    _row("40014", "Message expired in queue", _C.TRANSIENT),
    _row("40015", "Blocked as spam, internal", _C.ASK_A_PERSON),
    _row("40016", "T-Mobile 10DLC sending limit reached", _C.THROTTLED),
    _row("40017", "AT&T 10DLC spam message rejected", _C.ASK_A_PERSON),
    _row("40018", "AT&T 10DLC sending limit reached", _C.THROTTLED),
    _row("40100", "Number not messaging enabled", _C.ASK_A_PERSON),  # ours or theirs: the code does not say
    _row("40150", "Toll free number not in registry", _C.CONFIGURATION),
    _row("40151", "Message enablement pending with other provider", _C.CONFIGURATION),
    _row("40300", "Blocked due to STOP message", _C.OPTED_OUT),
    _row("40301", "Unsupported message type for the 'to' address", _C.RECIPIENT),
    _row("40302", "Message too large", _C.MESSAGE),
    _row("40304", "Invalid combination of message content arguments", _C.MESSAGE),
    _row("40305", "Invalid 'from' address", _C.CONFIGURATION),
    _row("40306", "Alpha sender not configured", _C.CONFIGURATION),
    _row("40308", "Invalid 'from' address for MMS", _C.CONFIGURATION),
    _row("40309", "Invalid destination region", _C.ASK_A_PERSON),  # one country, switched off in the profile
    _row("40310", "Invalid 'to' address", _C.RECIPIENT),
    # "Not SMS-capable" in our first design, a secret of the profile in Telnyx's list: one number is given up, and ops
    # looks which of the two it was.
    _row("40311", "Invalid messaging profile secret", _C.RECIPIENT, notify_ops=True),
    _row("40312", "Messaging profile is disabled", _C.CONFIGURATION),
    _row("40313", "Missing messaging profile secret", _C.CONFIGURATION),
    _row("40314", "Messaging disabled on account", _C.CONFIGURATION),
    _row("40315", "Unhealthy 'from' address", _C.CONFIGURATION),
    _row("40316", "No content provided for message", _C.MESSAGE),
    _row("40317", "Invalid MMS content", _C.MESSAGE),
    _row("40318", "Message queue full", _C.THROTTLED),
    _row("40319", "Incompatible message type for the 'to' address", _C.RECIPIENT),
    _row("40320", "Temporarily unusable 'from' address", _C.TRANSIENT),
    _row("40321", "No usable numbers on messaging profile", _C.CONFIGURATION),
    _row("40322", "Blocked due to content", _C.MESSAGE),
    _row("40328", "SMS exceeds recommended size", _C.MESSAGE),
    _row("40329", "Toll free number not yet verified", _C.CONFIGURATION),
    _row("40333", "Spend limit reached", _C.CONFIGURATION),
    # In the first design, not in Telnyx's list of message errors
    _row("40400", "Resource temporarily not found", _C.TRANSIENT),
    _row("50000", "Internal error", _C.TRANSIENT),
    _row("50001", "Service unavailable", _C.TRANSIENT),
)

BY_CODE = {row.code: row for row in TABLE}

_BY_STATUS = {
    400: _C.MESSAGE,
    401: _C.CONFIGURATION,
    402: _C.CONFIGURATION,
    403: _C.CONFIGURATION,
    404: _C.CONFIGURATION,
    413: _C.MESSAGE,
    422: _C.MESSAGE,
    429: _C.THROTTLED,
}


def refused(code: str, http_status: int, title: str = "", retry_after_s: float | None = None) -> Refused:
    """The provider's refusal of a request, classed; its own `title` goes before ours."""
    row = classify(code, http_status)
    return Refused(row.error_class, code, title or row.title, row.notify_ops, retry_after_s)


def delivery_failed(code: str | None) -> Refused:
    """What a receipt with this error code (or none) says about trying again."""
    return refused(code or "no-code", 0)


def classify(code: str, http_status: int = 0) -> CodeRow:
    """The row of `code`; for a code without one, what `http_status` says (0: a receipt, which has none).

    A code that may pass by itself speaks of the provider, not of the message, where the status is the server's fault.
    """
    ill = 500 <= http_status <= 599
    if row := BY_CODE.get(code):
        return row._replace(error_class=_C.UNAVAILABLE) if ill and row.error_class is _C.TRANSIENT else row
    if ill:
        return _row(code, f"HTTP status {http_status}", _C.UNAVAILABLE)
    known = _BY_STATUS.get(http_status, _C.UNKNOWN)
    title = f"HTTP status {http_status}" if http_status else "an error without a row in our table"
    return _row(code, title, known, notify_ops=True if known is _C.UNKNOWN else None)
