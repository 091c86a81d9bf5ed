"""A record of one of our own topics that could not be used."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from schemas.messages.fields import AtMs


class Unusable(StrEnum):
    """Why a record could not be used."""

    UNREADABLE = "unreadable"
    """It could not be decoded."""
    QUARANTINED = "quarantined"
    """Our code failed on it alone: a defect of ours, which `detail` and `build` name."""


class UnreadableRecord(Struct, frozen=True, kw_only=True, tag_field="type", tag="unreadable"):
    """A record of one of our own topics that could not be used; key: the record's own key."""

    topic: str
    partition: int
    offset: int
    at_ms: AtMs
    detail: str
    value_base64: Annotated[str | None, Meta(description="The start of the record as it came, 64 KiB at most")] = None
    reason: Unusable = Unusable.UNREADABLE
    build: Annotated[str, Meta(description="The version that failed on it; empty where it could not be decoded")] = ""
