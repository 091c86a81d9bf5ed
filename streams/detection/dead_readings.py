"""Dead letters for records of `readings`, or for some readings of one."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from domain.detection.reading_validation import Refusal
from domain.identity import dead_reading_id
from schemas import messages as m
from schemas.headers import Origin, attempts_of, failure_headers, trace_of, type_name
from schemas.messages import DeadLetterReason
from schemas.topics import READINGS_DLQ
from streams.engine.publish import Outgoing

if TYPE_CHECKING:
    from streams.engine.consumer import Batch
    from streams.engine.interfaces import Clock, Publish
    from streams.engine.quarantine import SetAside

KEPT_BYTES = 65_536
KEPT_KEY_BYTES = 1_024  # no unit id is longer; whatever comes as a key, the letter stays small enough to be sent
KEPT_DETAIL = 500


def quarantine_in(publish: Publish, build: str, now_ms: Clock) -> SetAside:
    """Sets records aside in `readings-dlq` on which the version `build` of our code fails."""

    async def set_aside(batch: Batch, why: str) -> None:
        refusal = Refusal(batch.records[0], DeadLetterReason.QUARANTINED, why)
        await publish([dead_letter(batch, refusal, now_ms(), build)])

    return set_aside


def dead_letter(batch: Batch, refusal: Refusal, now_ms: int, build: str = "") -> Outgoing:
    """The letter for `readings-dlq`, with the record's coordinates in it and in its headers."""
    record, reason = refusal.record, refusal.reason
    # A lone surrogate, as JSON may spell one, has no UTF-8.
    detail = refusal.detail[:KEPT_DETAIL].encode(errors="replace").decode()
    value, key = record.value, record.key
    came_with = dict(record.headers or ())
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
        build=build,
    )
    headers = failure_headers(
        dead_reading_id(batch.topic, batch.partition, record.offset, reason),
        type_name(m.DeadReading),
        attempt=redrives + 1,
        error=detail,
        error_code=reason.value,
        origin=Origin(batch.topic, batch.partition, record.offset, trace_of(came_with)),
    )
    return Outgoing(READINGS_DLQ, None if key is None else key[:KEPT_KEY_BYTES], m.encode(letter), headers)
