"""A record of one of our own topics that could not be decoded."""

from __future__ import annotations

from msgspec import Struct

from schemas.messages.fields import AtMs


class UnreadableRecord(Struct, frozen=True, kw_only=True, tag_field="type", tag="unreadable"):
    """A record of one of our own topics that could not be decoded; key: the record's own key."""

    topic: str
    partition: int
    offset: int
    at_ms: AtMs
    detail: str
    value_base64: str | None = None
