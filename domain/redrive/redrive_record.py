"""What all kinds of dead letters share: the facts that people query, and the record that a redrive sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, structs

from schemas import messages as m
from schemas.headers import content_id, type_name

if TYPE_CHECKING:
    from schemas.topic import AnyTopic


class Facts(Struct, frozen=True, kw_only=True):
    """What lists show and filters compare; None where the kind has no such field."""

    lane: str
    reason: str
    error_code: str
    error: str
    at_ms: int
    attempts: int = 1
    redrives: int = 0
    organization_id: str | None = None
    user_id: str | None = None
    request_id: str | None = None
    alert_id: str | None = None


class RedriveRecord(Struct, frozen=True, kw_only=True):
    """The record that a redrive sends: the same each time it is made, under the same `id` header."""

    topic: AnyTopic
    key: str
    value: bytes
    message_type: str
    message_id: str
    redrives: int
    attempts: int = 0


class NotRedrivable(Struct, frozen=True):
    """The dead letter cannot be sent again; `detail` says why, and what to do instead."""

    detail: str


def request_again(request: m.SmsRequest | m.EmailRequest | m.DigestWanted, topic: AnyTopic, key: str) -> RedriveRecord:
    """The request with no attempts made and one more redrive, so that the lanes treat it as a new one."""
    again = structs.replace(request, attempts=0, redrives=request.redrives + 1)
    if not isinstance(again, m.DigestWanted):
        again = structs.replace(again, provider_failures=0)
    value = m.encode(again)
    return RedriveRecord(
        topic=topic,
        key=key,
        value=value,
        message_type=type_name(type(again)),
        message_id=content_id(key.encode(), value),
        redrives=again.redrives,
    )
