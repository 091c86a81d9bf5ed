"""Messages in Telnyx's shapes: the request, its check, the answer, the error body."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec

E164 = re.compile(r"\+[1-9]\d{1,14}")
TEXT_LIMIT = 1600
VALID_FOR = timedelta(hours=1)

_GSM7 = frozenset(
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\n\r !\"#$%&'()*+,-./:;<=>?@[\\]^_{}|~"
    "£¥èéùìòØøÅåÆæßÉ¡ÄÖÑÜ¿äöñüà"
)
_GSM7_TWO_UNITS = frozenset("~^|\\{}[]")

TITLES = {
    "10002": "Invalid phone number",
    "10003": "Invalid URL",
    "10004": "Missing required parameter",
    "10005": "Resource not found",
    "10007": "Unexpected error",
    "10009": "Authentication failed",
    "10011": "Too many requests",
    "10015": "Bad Request",
    "10016": "Phone number must be in +E.164 format",
    "40302": "Message too large",
    "40305": "Invalid 'from' address",
    "40316": "No content provided for message",
}
_STATUS = {
    "10005": 404,
    "10007": 500,
    "10009": 401,
    "10010": 403,
    "10011": 429,
    "20002": 401,
    "20006": 401,
    "20012": 403,
    "20013": 403,
    "20100": 402,
    "40011": 429,
    "40318": 429,
}


class RefusedError(Exception):
    """The request is answered with an error; `detail` says what is wrong with it."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class SendRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `POST /v2/messages`, unchecked."""

    sender: str = msgspec.field(name="from", default="")
    to: str = ""
    text: str = ""
    messaging_profile_id: str = ""
    webhook_url: str = ""
    webhook_failover_url: str = ""


_decode = msgspec.json.Decoder(SendRequest).decode


def parse(body: bytes) -> SendRequest:
    """Raises RefusedError for what is no JSON object of strings."""
    try:
        return _decode(body)
    except msgspec.MsgspecError as error:
        raise RefusedError("10015", f"The body is not a message: {error}") from None


def check(request: SendRequest) -> None:
    """Raises RefusedError with the code that Telnyx gives."""
    for name, value in (("to", request.to), ("from", request.sender), ("profile", request.messaging_profile_id)):
        if not value:
            raise RefusedError("10004", f"The parameter '{name.replace('profile', 'messaging_profile_id')}' is missing")
    if not E164.fullmatch(request.to):
        raise RefusedError("10016", "The 'to' address is not in +E.164 format")
    if not E164.fullmatch(request.sender):
        raise RefusedError("40305", "The 'from' address is not in +E.164 format")
    if not request.text:
        raise RefusedError("40316", "The message has no text")
    if len(request.text) > TEXT_LIMIT:
        raise RefusedError("40302", f"The text has {len(request.text)} characters, {TEXT_LIMIT} are allowed")
    for url in (request.webhook_url, request.webhook_failover_url):
        if url and (urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname):
            raise RefusedError("10003", "A webhook URL is not an absolute http or https URL")


def segments(text: str) -> tuple[str, int]:
    """Encoding and number of parts: 160 GSM-7 units or 70 UTF-16 units in one part, 153 or 67 in each of several."""
    if _GSM7.issuperset(text):
        encoding, units, single, multiple = "GSM-7", len(text) + sum(c in _GSM7_TWO_UNITS for c in text), 160, 153
    else:
        encoding, units, single, multiple = "UTF-16", len(text.encode("utf-16-le")) // 2, 70, 67
    return encoding, 1 if units <= single else -(-units // multiple)


class Message(msgspec.Struct, kw_only=True):
    """An accepted message and how far it came."""

    message_id: str
    request: SendRequest
    received: datetime
    status: str = "queued"
    sent: datetime | None = None
    completed: datetime | None = None
    error_code: str | None = None

    def payload(self) -> dict[str, Any]:
        """As `data` of an answer, and as `payload` of a webhook."""
        encoding, parts = segments(self.request.text)
        return {
            "record_type": "message",
            "direction": "outbound",
            "id": self.message_id,
            "type": "SMS",
            "messaging_profile_id": self.request.messaging_profile_id,
            "from": {"phone_number": self.request.sender, "carrier": "Fake", "line_type": "Wireless"},
            "to": [
                {"phone_number": self.request.to, "status": self.status, "carrier": "Fake", "line_type": "Wireless"}
            ],
            "text": self.request.text,
            "media": [],
            "tags": [],
            "encoding": encoding,
            "parts": parts,
            "cost": None,
            "webhook_url": self.request.webhook_url,
            "webhook_failover_url": self.request.webhook_failover_url,
            "received_at": iso(self.received),
            "sent_at": iso(self.sent),
            "completed_at": iso(self.completed),
            "valid_until": iso(self.received + VALID_FOR),
            "errors": [] if self.error_code is None else [error_item(self.error_code, "The delivery failed")],
        }


def error_item(code: str, detail: str, title: str = "Ordered by a test") -> dict[str, Any]:
    return {"code": code, "title": TITLES.get(code, title), "detail": detail}


def error_body(code: str, detail: str, title: str = "Ordered by a test") -> bytes:
    return msgspec.json.encode({"errors": [error_item(code, detail, title)]})


def status_of(code: str) -> int:
    """The HTTP status that comes with an error code."""
    return _STATUS.get(code, 400)


def code_of(status: int) -> str:
    """The error code that comes with an HTTP status."""
    by_status = {401: "10009", 403: "10010", 404: "10005", 422: "10015", 429: "10011"}
    return by_status.get(status, "10007" if status >= 500 else "10015")


def iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")


def now() -> datetime:
    return datetime.now(UTC)
