"""Units that went offline or came back: what the partitions of `readings` report to those who watch gateways.

Tags and the topic's name keep the words of stored messages.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from schemas.messages.fields import AtMs, Id


class UnitConnectivityEvent(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Whether anything comes from a unit; key: the group of units that are judged together."""

    unit_id: Id
    group: Annotated[str, Meta(description="`gateway:ORGANIZATION/GATEWAY`, or `unit:` and the id of a unit alone")]
    at_ms: AtMs


class UnitOffline(UnitConnectivityEvent, frozen=True, kw_only=True, tag="unit_silent"):
    """Nothing came since `since_at_ms`; at `at_ms` the unit had missed its expected interval too often."""

    organization_id: Id
    since_at_ms: AtMs


class UnitOnline(UnitConnectivityEvent, frozen=True, kw_only=True, tag="unit_heard"):
    """The unit reports again, or being offline no longer matters: `because` says which."""

    because: str = "recovered"


UnitConnectivity = UnitOffline | UnitOnline
