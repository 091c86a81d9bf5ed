"""The redrive of a dead record of `readings`, or of the readings that were refused in one."""

from __future__ import annotations

import base64
import binascii

import msgspec
from msgspec import Struct

from domain.detection.reading_validation import KEPT_READINGS
from domain.identity import derived_id
from domain.redrive.redrive_record import Facts, NotRedrivable, RedriveRecord
from schemas import messages as m
from schemas.headers import content_id, type_name
from schemas.messages.reading_bounds import FUTURE_MS
from schemas.topics import READINGS


def reading_facts(dead: m.DeadReading) -> Facts:
    return Facts(
        lane=READINGS.name,
        reason=dead.reason,
        error_code=dead.reason,
        error=dead.detail,
        at_ms=dead.at_ms,
        attempts=dead.redrives + 1,
        redrives=dead.redrives,
    )


class _Named(Struct):
    unit_id: m.Id


_decode_batch = msgspec.json.Decoder(m.ReadingBatch).decode
_decode_named = msgspec.json.Decoder(_Named).decode


def redrive_reading(dead: m.DeadReading) -> RedriveRecord | NotRedrivable:
    """The record as it came, under its unit's key. Where only some readings were refused, a batch of just those."""
    try:
        value = base64.b64decode(dead.value_base64 or "", validate=True)
    except binascii.Error:
        value = b""
    if dead.value_base64 is None or len(value) != dead.value_bytes:
        return NotRedrivable(
            f"only {len(value)} of the record's {dead.value_bytes} bytes are kept, too few to send it again;"
            f" the original lay at {dead.topic}/{dead.partition}/{dead.offset}, and its sender must send it again"
        )
    try:
        unit_id = _decode_named(value).unit_id
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return NotRedrivable(f"the record names no unit ({error}), so its key is unknown; its sender must repair it")
    if dead.readings:
        # The other readings were used; sent again, they would count twice in the aggregates.
        if len(dead.readings) >= KEPT_READINGS:
            return NotRedrivable(
                f"{KEPT_READINGS} or more readings were refused, and only {KEPT_READINGS} are kept;"
                " their sender must send them again"
            )
        value = m.encode(m.ReadingBatch(unit_id, list(dead.readings)))
    redrives = dead.redrives + 1
    return RedriveRecord(
        topic=READINGS,
        key=unit_id,
        value=value,
        message_type=type_name(m.ReadingBatch),
        # A new id: consumers that remember the old one would drop this as a repetition.
        message_id=derived_id("redriven reading", content_id(unit_id.encode(), value), redrives),
        redrives=redrives,
        attempts=redrives,
    )


def _kept(dead: m.DeadReading) -> list[m.Reading]:
    try:
        return _decode_batch(base64.b64decode(dead.value_base64 or "")).readings
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return []


# Reasons that a change of configuration, the passing of time, or another version of ours may have removed.
_MAY_HAVE_CHANGED = frozenset(
    {
        m.DeadLetterReason.UNKNOWN_UNIT,
        m.DeadLetterReason.FUTURE_TIME,
        m.DeadLetterReason.MISSING_KEY,
        m.DeadLetterReason.QUARANTINED,
    }
)


def reading_doubt(dead: m.DeadReading, now_ms: int) -> str | None:
    if dead.reason not in _MAY_HAVE_CHANGED:
        return f"the record was refused as {dead.reason} ({dead.detail}), and would be again"
    newest_ms = max((reading.at_ms for reading in dead.readings or _kept(dead)), default=0)
    if newest_ms > now_ms + FUTURE_MS:
        ahead_s = (newest_ms - now_ms) // 1000
        return f"its newest reading is still {ahead_s} s ahead of now, {FUTURE_MS // 1000} s are allowed"
    return None
