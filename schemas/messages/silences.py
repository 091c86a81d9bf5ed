"""Units that fell silent, and were heard again: what the partitions of `readings` tell those who watch gateways."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from schemas.messages.fields import AtMs, Id


class UnitSilenceEvent(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Whether a unit is heard; key: the group of units that are judged together."""

    unit_id: Id
    group: Annotated[str, Meta(description="`gateway:` and the gateway's id, or `unit:` and the id of a unit alone")]
    at_ms: AtMs


class UnitSilent(UnitSilenceEvent, frozen=True, kw_only=True, tag="unit_silent"):
    """Nothing came since `since_at_ms`; at `at_ms` the unit had missed its expected interval too often."""

    organization_id: Id
    since_at_ms: AtMs


class UnitHeard(UnitSilenceEvent, frozen=True, kw_only=True, tag="unit_heard"):
    """The silence is over, or does not matter any more: `because` says which."""

    because: str = "recovered"


UnitSilence = UnitSilent | UnitHeard
