"""Dead letters → `job_failures`; records that the recorder cannot use end there too.

A record that cannot be decoded, or that the database refuses, is not sent to a dead-letter topic: its row is the dead
letter. The recorder reads those topics itself, so a bad record there would come back for ever. Texts are cleaned first.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, cast

import msgspec

from domain.redrive.dead_letters import DEAD_LETTER_TOPICS, kind_of
from schemas import messages as m
from streams.recorder.rows import Incoming, Instant, SqlRow, clean, insert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.redrive.dead_letters import DeadLetter

TOPICS = {topic.name: topic for topic in DEAD_LETTER_TOPICS}
UNREADABLE = m.Unusable.UNREADABLE.value
QUARANTINED = m.Unusable.QUARANTINED.value
REFUSED = "refused_by_the_database"


class JobFailure(SqlRow, frozen=True, kw_only=True, gc=False):
    """`unit_id` is for looking up the organization if the record names none."""

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


def dead_letter_rows(record: Incoming) -> Sequence[SqlRow]:
    dead = cast("DeadLetter", TOPICS[record.topic].decode(record.value))
    facts = kind_of(dead, record.topic).facts(dead)
    # A dead reading names no organization, but its key names the unit.
    unit_id = clean((record.key or b"").decode(errors="replace")) if isinstance(dead, m.DeadReading) else None
    return (
        JobFailure(
            organization_id=facts.organization_id,
            unit_id=unit_id,
            user_id=facts.user_id,
            request_id=facts.request_id,
            lane=clean(facts.lane),
            reason=facts.reason,
            error_code=facts.error_code,
            error=clean(facts.error),
            attempts=facts.attempts,
            redrives=facts.redrives,
            payload=record.value or b"",
            failed_at=facts.at_ms,
            message_id=record.message_id,
            source_topic=record.topic,
            source_partition=record.partition,
            source_offset=record.offset,
        ),
    )


class _Whose(msgspec.Struct):
    organization_id: str | None = None
    user_id: str | None = None
    request_id: str | None = None
    unit_id: str | None = None


def unusable(record: Incoming, reason: str, code: str, why: str, build: str = "") -> JobFailure:
    """The dead letter of a record that the recorder cannot use, with its owner if the record names one.

    `build` is the version of our code that failed on it, where the record itself could be decoded.
    """
    why = why.encode(errors="replace").decode()
    try:
        whose = msgspec.json.decode(record.value or b"", type=_Whose)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        whose = _Whose()
    dead = m.UnreadableRecord(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        at_ms=record.timestamp_ms,
        detail=clean(why),
        value_base64=None if record.value is None else base64.b64encode(record.value).decode(),
        reason=m.Unusable.QUARANTINED if build else m.Unusable.UNREADABLE,
        build=build,
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
        payload=m.encode(dead),
        failed_at=max(record.timestamp_ms, 0),
        source_topic=record.topic,
        source_partition=record.partition,
        source_offset=record.offset,
    )


def _cleaned(text: str | None) -> str | None:
    # Ids are at most this long; a longer one may not fit into an index.
    return None if text is None else clean(text[:200].encode(errors="replace").decode())
