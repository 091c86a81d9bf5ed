"""Dead letters for records of our own topics that cannot be decoded."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import structlog

from schemas import messages as m
from schemas.headers import Origin, attempts_of, failure_headers
from streams.engine.publish import Outgoing

if TYPE_CHECKING:
    from aiokafka import ConsumerRecord

    from schemas.topic import AnyTopic

log = structlog.get_logger(__name__)

KEPT_BYTES = 65_536


def dead_letter(record: ConsumerRecord, topic: AnyTopic | str, detail: str, now_ms: int) -> Outgoing:
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
    headers = failure_headers(
        f"{record.topic}/{record.partition}/{record.offset}",
        "unreadable",
        attempt=attempts_of(dict(record.headers or ())) + 1,
        error=detail,
        error_code="unreadable",
        origin=Origin.of(record),
    )
    return Outgoing(topic, record.key, m.encode(letter), headers)
