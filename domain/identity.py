"""Deterministic ids (UUIDv5): a record that is read again makes the same id, so its effect is known to be the same."""

from __future__ import annotations

import hashlib
import json
import uuid

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "stream.freshtrack.example.com")
_NAMESPACE = NAMESPACE.bytes


def derived_id(kind: str, *parts: str | int) -> str:
    """The id of a `kind` of thing that `parts` tell from all others.

    The parts stay apart: ("a|b", "c") and ("a", "b|c") give two ids.
    """
    name = json.dumps((kind, *parts), separators=(",", ":")).encode()
    digest = bytearray(hashlib.sha1(_NAMESPACE + name, usedforsecurity=False).digest()[:16])
    # RFC 9562, 5.5: version and variant. `uuid.uuid5` does the same in four times the time.
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def alert_id(unit_id: str, rule_id: str, started_at_ms: int) -> str:
    """The alert about the breach of `rule_id` that began with the reading of `started_at_ms`."""
    return derived_id("alert", unit_id, rule_id, started_at_ms)


def dead_reading_id(topic: str, partition: int, offset: int, reason: str) -> str:
    """The dead letter of one record for one reason; a record may have one per reason."""
    return derived_id("dead reading", topic, partition, offset, reason)
