"""A dead record of `readings`, or dead readings of one: what they become when a person sends them again."""

from __future__ import annotations

import base64
import binascii

import msgspec
from msgspec import Struct

from domain.detection.reading_validation import KEPT_READINGS
from domain.detection.readings import FUTURE_MS
from domain.identity import derived_id
from domain.redrive.redrive_record import Facts, Lifeless, Revived
from schemas import messages as m
from schemas.headers import content_id, type_name
from schemas.topics import READINGS


def reading_facts(letter: m.DeadReading) -> Facts:
    return Facts(
        lane=READINGS.name,
        reason=letter.reason,
        error_code=letter.reason,
        error=letter.detail,
        at_ms=letter.at_ms,
        attempts=letter.redrives + 1,
        redrives=letter.redrives,
    )


class _Named(Struct):
    unit_id: m.Id


_decode_batch = msgspec.json.Decoder(m.ReadingBatch).decode
_decode_named = msgspec.json.Decoder(_Named).decode


def revive_reading(letter: m.DeadReading) -> Revived | Lifeless:
    """The record as it came, under its unit's key. Where only some readings were refused, a batch of just those."""
    try:
        value = base64.b64decode(letter.value_base64 or "", validate=True)
    except binascii.Error:
        value = b""
    if letter.value_base64 is None or len(value) != letter.value_bytes:
        return Lifeless(
            f"the letter keeps {len(value)} of the record's {letter.value_bytes} bytes, and a part is no record;"
            f" it lay at {letter.topic}/{letter.partition}/{letter.offset}, its sender must send it again"
        )
    try:
        unit_id = _decode_named(value).unit_id
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return Lifeless(f"the record names no unit ({error}), so nobody knows its key; its sender must repair it")
    if letter.readings:
        # The others of the record were used: once more they would count twice in the aggregates.
        if len(letter.readings) >= KEPT_READINGS:
            return Lifeless(
                f"{KEPT_READINGS} readings or more were refused, and the letter keeps no more than that;"
                " their sender must send them again"
            )
        value = m.encode(m.ReadingBatch(unit_id, list(letter.readings)))
    redrives = letter.redrives + 1
    return Revived(
        topic=READINGS,
        key=unit_id,
        value=value,
        message_type=type_name(m.ReadingBatch),
        # Not the id that the record had: whoever remembers that one would take this for a repetition.
        message_id=derived_id("redriven reading", content_id(unit_id.encode(), value), redrives),
        redrives=redrives,
        attempts=redrives,
    )


def _kept(letter: m.DeadReading) -> list[m.Reading]:
    try:
        return _decode_batch(base64.b64decode(letter.value_base64 or "")).readings
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return []


# What another configuration, or the clock, may have made good since.
_MAY_HAVE_CHANGED = frozenset(
    {m.DeadLetterReason.UNKNOWN_UNIT, m.DeadLetterReason.FUTURE_TIME, m.DeadLetterReason.MISSING_KEY}
)


def reading_doubt(letter: m.DeadReading, now_ms: int) -> str | None:
    if letter.reason not in _MAY_HAVE_CHANGED:
        return f"the record was refused as {letter.reason} ({letter.detail}), and would be again"
    newest_ms = max((reading.at_ms for reading in letter.readings or _kept(letter)), default=0)
    if newest_ms > now_ms + FUTURE_MS:
        ahead_s = (newest_ms - now_ms) // 1000
        return f"its newest reading is still {ahead_s} s ahead of now, {FUTURE_MS // 1000} s are allowed"
    return None
