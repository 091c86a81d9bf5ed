"""Dead letters for records of `readings`, or for some readings of one."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from domain.identity import dead_reading_id
from schemas import messages as m
from schemas.headers import attempts_of, trace_of
from streams.engine.publish import Outgoing

if TYPE_CHECKING:
    from domain.detection.reading_validation import Refusal
    from streams.engine.consumer import Batch

KEPT_BYTES = 65_536
KEPT_KEY_BYTES = 1_024  # no unit id is longer; whatever comes as a key, the letter stays small enough to be sent
KEPT_DETAIL = 500


def dead_letter(batch: Batch, refusal: Refusal, topic: str, now_ms: int) -> Outgoing:
    """The letter for the dead-letter topic `topic`, with the record's coordinates in it and in its headers."""
    record, reason, detail = refusal.record, refusal.reason, refusal.detail[:KEPT_DETAIL]
    value, key = record.value, record.key
    # What the broker gave has headers; the domain, which refused it, need not know of them.
    came_with = dict(getattr(record, "headers", ()))
    # Only what a person sent again has attempts behind it.
    redrives = attempts_of(came_with)
    letter = m.DeadReading(
        reason=reason,
        detail=detail,
        topic=batch.topic,
        partition=batch.partition,
        offset=record.offset,
        at_ms=now_ms,
        value_base64=None if value is None else base64.b64encode(value[:KEPT_BYTES]).decode(),
        value_bytes=0 if value is None else len(value),
        readings=() if refusal.whole else refusal.readings,
        redrives=redrives,
    )
    headers = (
        ("id", dead_reading_id(batch.topic, batch.partition, record.offset, reason).encode()),
        ("type", b"dead_reading"),
        ("traceparent", trace_of(came_with)),
        ("attempt", b"%d" % (redrives + 1)),
        ("error", detail.encode(errors="replace")),
        ("error-code", reason.encode()),
        ("original-topic", batch.topic.encode()),
        ("original-partition", b"%d" % batch.partition),
        ("original-offset", b"%d" % record.offset),
    )
    return Outgoing(topic, None if key is None else key[:KEPT_KEY_BYTES], m.encode(letter), headers)
