"""Dead letters → `job_failures`; and what the recorder itself could not use ends here too.

A record that cannot be decoded, or that the database refuses, is not sent to a dead-letter topic: its row here is the
dead letter. The recorder reads those topics itself, so a bad record there would come back for ever. Every text of such
a row is made fit for the database first.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import msgspec

from schemas import messages as m
from schemas.topics import READINGS, SMS_LANES
from streams.recorder.rows import Incoming, Instant, SqlRow, clean, insert

if TYPE_CHECKING:
    from collections.abc import Sequence

_decode_dead_sms: msgspec.json.Decoder[m.SmsDeadLetter | m.UnreadableRecord] = msgspec.json.Decoder(
    m.SmsDeadLetter | m.UnreadableRecord
)
_decode_dead_reading = msgspec.json.Decoder(m.DeadReading).decode

UNREADABLE = "unreadable"
REFUSED = "refused_by_the_database"


class JobFailure(SqlRow, frozen=True, kw_only=True, gc=False):
    """`unit_id` stands in for an organization that the record does not name."""

    organization_id: str | None = None
    unit_id: str | None = None
    user_id: str | None = None
    request_id: str | None = None
    lane: str
    reason: str
    error_code: str | None = None
    error: str | None = None
    attempts: int = 0
    redrives: int = 0
    payload: bytes
    failed_at: Instant
    message_id: str | None = None
    source_topic: str
    source_partition: int
    source_offset: int


FAILURES = insert(
    JobFailure,
    "job_failures",
    without=("unit_id",),
    instead={
        "organization_id": (
            "coalesce(new.organization_id, (SELECT units.organization_id FROM units WHERE units.unit_id = new.unit_id))"
        )
    },
    on_conflict="DO NOTHING",
)


def dead_sms_rows(record: Incoming) -> Sequence[SqlRow]:
    letter = _decode_dead_sms.decode(record.value or b"")
    if isinstance(letter, m.UnreadableRecord):
        return (unreadable_letter(record, letter),)
    request = letter.request
    return (
        JobFailure(
            organization_id=request.organization_id,
            user_id=request.user_id,
            request_id=request.request_id,
            lane=SMS_LANES[request.severity].name,
            reason=letter.reason,
            error_code=letter.error_code,
            error=letter.error,
            attempts=letter.attempts,
            redrives=request.redrives,
            payload=record.value or b"",
            failed_at=letter.at_ms,
            message_id=record.message_id,
            source_topic=record.topic,
            source_partition=record.partition,
            source_offset=record.offset,
        ),
    )


def dead_reading_rows(record: Incoming) -> Sequence[SqlRow]:
    letter = _decode_dead_reading(record.value or b"")
    return (
        JobFailure(
            unit_id=clean((record.key or b"").decode(errors="replace")),
            lane=READINGS.name,
            reason=letter.reason,
            error_code=letter.reason,
            error=clean(letter.detail),
            payload=record.value or b"",
            redrives=letter.redrives,
            failed_at=letter.at_ms,
            message_id=record.message_id,
            source_topic=record.topic,
            source_partition=record.partition,
            source_offset=record.offset,
        ),
    )


def unreadable_letter(record: Incoming, letter: m.UnreadableRecord) -> JobFailure:
    """A worker's word that it could not decode a record of a topic; `lane` is that topic's name at the broker."""
    return JobFailure(
        lane=clean(letter.topic),
        reason=UNREADABLE,
        error_code=UNREADABLE,
        error=clean(letter.detail),
        payload=record.value or b"",
        failed_at=letter.at_ms,
        message_id=record.message_id,
        source_topic=record.topic,
        source_partition=record.partition,
        source_offset=record.offset,
    )


class _Whose(msgspec.Struct):
    organization_id: str | None = None
    user_id: str | None = None
    request_id: str | None = None
    unit_id: str | None = None


def unusable(record: Incoming, reason: str, code: str, why: str) -> JobFailure:
    """The dead letter of a record that the recorder cannot use. It says whose it is when the record tells."""
    try:
        whose = msgspec.json.decode(record.value or b"", type=_Whose)
    except msgspec.MsgspecError:
        whose = _Whose()
    letter = m.UnreadableRecord(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        at_ms=record.timestamp_ms,
        detail=clean(why),
        value_base64=None if record.value is None else base64.b64encode(record.value).decode(),
    )
    return JobFailure(
        organization_id=_cleaned(whose.organization_id),
        unit_id=_cleaned(whose.unit_id),
        user_id=_cleaned(whose.user_id),
        request_id=_cleaned(whose.request_id),
        lane=record.topic,
        reason=reason,
        error_code=code,
        error=clean(why),
        payload=m.encode(letter),
        failed_at=max(record.timestamp_ms, 0),
        source_topic=record.topic,
        source_partition=record.partition,
        source_offset=record.offset,
    )


def _cleaned(text: str | None) -> str | None:
    # An id is at most so long; a longer one may not fit into an index.
    return None if text is None else clean(text[:200])
