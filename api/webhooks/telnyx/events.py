"""Telnyx's events as our messages. Source: "Receiving webhooks" and "Message detail records" in Telnyx's documentation.

Only the needed fields are read; an event without one of them is refused with the field's name.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads the annotation
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import msgspec

from api.problems import Problem, invalid
from api.validation_texts import worded
from schemas import messages as m
from schemas.messages.fields import LONGEST_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

SENT = "message.sent"
FINALIZED = "message.finalized"
RECEIVED = "message.received"
DELIVERY = frozenset({SENT, FINALIZED})
LONGEST_TEXT = 1_600


class Phone(msgspec.Struct, frozen=True):
    """One end of a message, with its delivery status."""

    phone_number: str = ""
    status: str = ""


class ErrorItem(msgspec.Struct, frozen=True):
    code: str | int = ""


class Payload(msgspec.Struct, frozen=True):
    """The message of an event. Older accounts get `from` as a bare number."""

    id: str = ""
    sender: Phone | str = msgspec.field(name="from", default="")
    to: tuple[Phone, ...] = ()
    text: str | None = None
    errors: tuple[ErrorItem, ...] | None = None
    webhook_url: str | None = None

    @property
    def from_number(self) -> str:
        return self.sender if isinstance(self.sender, str) else self.sender.phone_number


class Event(msgspec.Struct, frozen=True):
    event_type: str
    id: m.Id
    payload: msgspec.Raw = msgspec.Raw(b"{}")
    occurred_at: datetime | None = None


class _Envelope(msgspec.Struct, frozen=True):
    data: Event


class Addressed(msgspec.Struct, frozen=True):
    """The attempt that a delivery event is about, from the webhook's address."""

    user_id: str
    request_id: str
    attempt_id: str


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_payload = msgspec.json.Decoder(Payload).decode


def event_of(body: bytes) -> Event:
    """Raises Problem: 400 for a body that is not JSON, 422 for JSON that is not an event."""
    try:
        event = _decode_envelope(body).data
    except msgspec.ValidationError as error:
        raise invalid("/data", f"not a Telnyx event: {worded(error)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem(HTTPStatus.BAD_REQUEST, "The body is not JSON.", slug="not-json") from None
    if not event.id.isprintable():
        raise invalid("/data/id", "an event's id must consist of printable characters")
    return event


def payload_of(event: Event) -> Payload:
    """Raises Problem (422) for anything but a message."""
    try:
        return _decode_payload(event.payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid("/data/payload", f"not a Telnyx message: {worded(error)}") from None


def addressed(payload: Payload, query: Mapping[str, str]) -> Addressed | None:
    """The attempt of a delivery event; None for an account-wide webhook, whose address has no ids.

    The signature covers the body but not the address, so the address inside the body takes precedence: a copy sent to
    another address reports the same attempt.
    """
    signed = {name: values[0] for name, values in parse_qs(urlsplit(payload.webhook_url or "").query).items()}
    return _ids(signed) or _ids(query)


def _ids(query: Mapping[str, str]) -> Addressed | None:
    ids = [query.get(name, "") for name in ("user", "request", "attempt")]
    return Addressed(*ids) if all(1 <= len(text) <= LONGEST_ID and text.isprintable() for text in ids) else None


def receipt_of(event: Event, payload: Payload, about: Addressed, now_ms: int) -> m.DeliveryReceipt:
    """Raises Problem (422) for an event without the message's id or status."""
    status = payload.to[0].status if payload.to else ""
    if not payload.id or not status:
        raise invalid("/data/payload", "a delivery event needs the message's id and to[0].status")
    code = next((str(item.code) for item in payload.errors or () if item.code), None)
    return m.DeliveryReceipt(
        event_id=event.id,
        user_id=about.user_id,
        occurred_at_ms=occurred_at_ms(event, now_ms),
        request_id=about.request_id,
        attempt_id=about.attempt_id,
        provider_message_id=payload.id,
        status=status,
        error_code=code,
    )


def inbound_of(event: Event, payload: Payload, now_ms: int) -> m.InboundSms:
    """An MMS without text becomes an empty text."""
    return m.InboundSms(
        event_id=event.id,
        phone_e164=payload.from_number,
        occurred_at_ms=occurred_at_ms(event, now_ms),
        text=(payload.text or "")[:LONGEST_TEXT],
    )


def occurred_at_ms(event: Event, now_ms: int) -> int:
    """The time by Telnyx's clock; now, where it is missing or has no zone."""
    at = event.occurred_at
    return now_ms if at is None or at.tzinfo is None else round(at.timestamp() * 1000)
