"""What sensors and gateways send, and what of it could not be used."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from schemas.messages.fields import AtMs, Celsius, DeviceMs, Id


class Reading(Struct, frozen=True, gc=False):
    """One measurement; the time is the device's own clock."""

    at_ms: DeviceMs
    temperature_c: Celsius


class ReadingBatch(Struct, frozen=True):
    """1..n readings of one unit, as a gateway sends them; the record's key is the unit id."""

    unit_id: Id
    readings: list[Reading]


class DeadLetterReason(StrEnum):
    """Why a record of `readings` could not be used."""

    NULL_VALUE = "null_value"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    WRONG_SHAPE = "wrong_shape"
    EMPTY_BATCH = "empty_batch"
    MISSING_KEY = "missing_key"
    KEY_MISMATCH = "key_mismatch"
    NOT_FINITE = "not_finite"
    IMPOSSIBLE_TEMPERATURE = "impossible_temperature"
    IMPOSSIBLE_TIME = "impossible_time"
    FUTURE_TIME = "future_time"
    UNKNOWN_UNIT = "unknown_unit"
    TOO_OLD = "too_old"
    TOO_MANY = "too_many"
    QUARANTINED = "quarantined"


class DeadReading(Struct, frozen=True, kw_only=True, tag_field="type", tag="dead_reading"):
    """A record of `readings`, or some readings of it, that could not be used; key: the record's own key."""

    reason: DeadLetterReason
    detail: Annotated[str, Meta(description="The value, the rule that it breaks, and the way out")]
    topic: str
    partition: int
    offset: int
    at_ms: AtMs
    value_base64: Annotated[str | None, Meta(description="The start of the record as it came, 64 KiB at most")] = None
    value_bytes: Annotated[int, Meta(ge=0, description="The record's full size")] = 0
    readings: Annotated[tuple[Reading, ...], Meta(description="The refused readings, where only some were")] = ()
    redrives: Annotated[int, Meta(ge=0, description="How often a person sent it again from the dead letters")] = 0
    build: Annotated[str, Meta(description="The version that failed on a quarantined record")] = ""
