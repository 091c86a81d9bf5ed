"""Deterministic ids (UUIDv5): a record that is read again makes the same id, so its effect is known to be the same."""

from __future__ import annotations

import json
import uuid

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "stream.freshtrack.example.com")


def derived_id(kind: str, *parts: str | int) -> str:
    """The id of a `kind` of thing that `parts` tell from all others.

    The parts stay apart: ("a|b", "c") and ("a", "b|c") give two ids.
    """
    return str(uuid.uuid5(NAMESPACE, json.dumps((kind, *parts), separators=(",", ":"))))


def alert_id(unit_id: str, rule_id: str, started_at_ms: int) -> str:
    """The alert about the breach of `rule_id` that began with the reading of `started_at_ms`."""
    return derived_id("alert", unit_id, rule_id, started_at_ms)


def dead_reading_id(topic: str, partition: int, offset: int, reason: str) -> str:
    """The dead letter of one record for one reason; a record may have one per reason."""
    return derived_id("dead reading", topic, partition, offset, reason)
