"""What the kinds of dead letters have in common: the facts that people ask about, and the record that one becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, structs

from schemas import messages as m
from schemas.headers import content_id, type_name

if TYPE_CHECKING:
    from schemas.topics import AnyTopic


class Facts(Struct, frozen=True, kw_only=True):
    """What lists show of a letter and filters ask about; None is what its kind does not have."""

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


class Revived(Struct, frozen=True, kw_only=True):
    """The record that a letter becomes: the same each time it is made, under the same `id` header."""

    topic: AnyTopic
    key: str
    value: bytes
    message_type: str
    message_id: str
    redrives: int
    attempts: int = 0


class Lifeless(Struct, frozen=True):
    """Nothing can be made of the letter, for the reason given: what is wrong, and what to do instead."""

    detail: str


def request_again(request: m.SmsRequest | m.EmailRequest | m.DigestWanted, topic: AnyTopic, key: str) -> Revived:
    """A request as it was, with its attempts before it and one redrive more: the lanes take it for a new one."""
    again = structs.replace(request, attempts=0, redrives=request.redrives + 1)
    value = m.encode(again)
    return Revived(
        topic=topic,
        key=key,
        value=value,
        message_type=type_name(type(again)),
        message_id=content_id(key.encode(), value),
        redrives=again.redrives,
    )
