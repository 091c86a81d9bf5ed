"""Dead letters for records of our own topics that cannot be decoded."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import structlog

from schemas import messages as m
from schemas.headers import attempts_of, trace_of
from streams.engine.publish import Outgoing

if TYPE_CHECKING:
    from aiokafka import ConsumerRecord

log = structlog.get_logger(__name__)

KEPT_BYTES = 65_536


def dead_letter(record: ConsumerRecord, topic: str, detail: str, now_ms: int) -> Outgoing:
    """`record` as an UnreadableRecord for the dead-letter topic `topic`, with its coordinates in the headers."""
    log.error("record.unreadable", topic=record.topic, partition=record.partition, offset=record.offset, why=detail)
    letter = m.UnreadableRecord(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        at_ms=now_ms,
        detail=detail,
        value_base64=None if record.value is None else base64.b64encode(record.value[:KEPT_BYTES]).decode(),
    )
    came_with = dict(record.headers or ())
    headers = (
        ("id", f"{record.topic}/{record.partition}/{record.offset}".encode()),
        ("type", b"unreadable"),
        ("traceparent", trace_of(came_with)),
        ("attempt", b"%d" % (attempts_of(came_with) + 1)),
        ("error", detail.encode()),
        ("error-code", b"unreadable"),
        ("original-topic", record.topic.encode()),
        ("original-partition", str(record.partition).encode()),
        ("original-offset", str(record.offset).encode()),
    )
    return Outgoing(topic, record.key, m.encode(letter), headers)
