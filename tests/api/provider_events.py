"""Events as the SMS provider sends them, signed with a key of the tests, and where they go."""

from __future__ import annotations

import base64
import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import msgspec
from nacl.signing import SigningKey

from schemas import messages as m
from schemas.topics import SMS_INBOUND, SMS_RECEIPTS
from tests.api.topic_records import records

if TYPE_CHECKING:
    import httpx

    from broker.settings import KafkaSettings

SECRET = SigningKey(b"p" * 32)
PUBLIC_KEY = base64.b64encode(bytes(SECRET.verify_key)).decode()
ANN, OURS = "+12025550101", "+12025550100"
ABOUT = {"user": "ann", "request": "r1", "attempt": "r1-1"}
URL = "/webhooks/telnyx"

_decode_inbound = msgspec.json.Decoder(m.InboundSms)
_decode: msgspec.json.Decoder[m.Receipt] = msgspec.json.Decoder(m.Receipt)


def event(event_type: str, payload: dict[str, Any], **fields: Any) -> dict[str, Any]:
    data = {"event_type": event_type, "id": str(uuid.uuid4()), "occurred_at": "2026-03-01T12:00:00.250+00:00"}
    return {"data": {**data, **fields, "payload": payload}, "meta": {"attempt": 1}}


def delivery(status: str = "delivered", code: str | None = None, **fields: Any) -> dict[str, Any]:
    """A final event about a message to ann; `fields` go over the event's own."""
    errors = [] if code is None else [{"code": code, "title": "Made up", "detail": "for a test"}]
    to = [{"phone_number": ANN, "status": status, "carrier": "Any"}]
    kind = "message.sent" if status == "sent" else "message.finalized"
    return event(kind, {"id": "m1", "direction": "outbound", "to": to, "errors": errors}, **fields)


def answer_of(number: str, text: str | None, **fields: Any) -> dict[str, Any]:
    """What somebody answers to our number."""
    payload: dict[str, Any] = {
        "id": "m2",
        "direction": "inbound",
        "from": {"phone_number": number},
        "to": [],
        "text": text,
    }
    return event("message.received", payload, **fields)


def signed(body: bytes, at_s: float | None = None, secret: SigningKey = SECRET) -> dict[str, str]:
    """The headers of a webhook that is sent now, or at another time."""
    stamp = str(int(time.time() if at_s is None else at_s))
    signature = base64.b64encode(secret.sign(stamp.encode() + b"|" + body).signature).decode()
    return {"telnyx-timestamp": stamp, "telnyx-signature-ed25519": signature, "content-type": "application/json"}


async def send(
    client: httpx.AsyncClient, told: dict[str, Any], about: dict[str, str] | None = None, *, attempts: int = 9
) -> httpx.Response:
    """As the provider does: after a 5xx the same event again, with a new signature."""
    body = json.dumps(told).encode()
    for _ in range(attempts):
        answer = await client.post(URL, content=body, params=about or {}, headers=signed(body))
        if answer.status_code < 500:
            break
    return answer


def inbound(kafka: KafkaSettings) -> list[m.InboundSms]:
    """What people sent, as it is in the topic."""
    return [_decode_inbound.decode(record.value or b"") for record in records(kafka, SMS_INBOUND)]


def receipts(kafka: KafkaSettings) -> list[m.Receipt]:
    """What is in the topic; each record under its user's key."""
    found = []
    for record in records(kafka, SMS_RECEIPTS):
        receipt = _decode.decode(record.value or b"")
        assert record.key == receipt.user_id
        assert record.headers["type"] in {"delivery", "inbound"}
        found.append(receipt)
    return found
