"""Dead letters for records of our own topics that cannot be decoded, or that our code fails on."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import structlog

from schemas import messages as m
from schemas.headers import Origin, attempts_of, failure_headers
from streams.engine.publish import Outgoing

if TYPE_CHECKING:
    from schemas.topic import AnyTopic
    from streams.engine.consumer import Record

log = structlog.get_logger(__name__)

KEPT_BYTES = 65_536
# No id is longer; whatever comes as a key, the letter stays small enough to be sent.
KEPT_KEY_BYTES = 1_024
KEPT_DETAIL = 500


def dead_letter(record: Record, topic: AnyTopic, detail: str, now_ms: int) -> Outgoing:
    """`record` as an UnreadableRecord for the dead-letter topic `topic`, with its coordinates in the headers."""
    log.error("record.unreadable", topic=record.topic, partition=record.partition, offset=record.offset, why=detail)
    return _letter(record, topic, detail, now_ms, m.Unusable.UNREADABLE, "")


def quarantined(record: Record, topic: AnyTopic, detail: str, build: str, now_ms: int) -> Outgoing:
    """The same for a record on which the version `build` of our code fails."""
    return _letter(record, topic, detail, now_ms, m.Unusable.QUARANTINED, build)


def _letter(record: Record, topic: AnyTopic, detail: str, now_ms: int, reason: m.Unusable, build: str) -> Outgoing:
    # A lone surrogate, as JSON may spell one, has no UTF-8.
    detail = detail[:KEPT_DETAIL].encode(errors="replace").decode()
    value, key = record.value, record.key
    letter = m.UnreadableRecord(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        at_ms=now_ms,
        detail=detail,
        value_base64=None if value is None else base64.b64encode(value[:KEPT_BYTES]).decode(),
        reason=reason,
        build=build,
    )
    headers = failure_headers(
        f"{record.topic}/{record.partition}/{record.offset}",
        "unreadable",
        attempt=attempts_of(dict(record.headers or ())) + 1,
        error=detail,
        error_code=reason.value,
        origin=Origin.of(record),
    )
    return Outgoing(topic, None if key is None else key[:KEPT_KEY_BYTES], m.encode(letter), headers)
