"""The kinds of dead letter records: where each lies, the facts that lists show, the record that a redrive sends.

`KINDS` is the register. A new lane is one entry there (`redrive.py` decides whether it may be redriven). Tests name
what belongs to it: the topic in `schemas.topics.REDRIVE_TOPICS`, the word in `schemas.http.dead_letters`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import msgspec
from msgspec import Struct

from domain.redrive.reading_redrive import reading_doubt, reading_facts, redrive_reading
from domain.redrive.redrive_record import Facts, NotRedrivable, RedriveRecord, request_again
from schemas import messages as m
from schemas.topics import DIGEST_JOBS, EMAIL_DLQ, EMAIL_REQUESTS, READINGS_DLQ, SMS_DLQ, SMS_LANES

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.topic import AnyTopic

DeadLetter: TypeAlias = m.SmsDeadLetter | m.DeadReading | m.EmailDeadLetter | m.DigestDeadLetter | m.UnreadableRecord

_PLACE = re.compile(r"([0-9]{1,5})/([0-9]{1,18})")


class DeadLetterId(Struct, frozen=True):
    """Where a dead letter record lies: `TOPIC/PARTITION/OFFSET`, with the topic's declared name."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError that says what is expected."""
        known = sorted(topic.name for topic in DEAD_LETTER_TOPICS)
        topic, _, place = text.partition("/")
        found = _PLACE.fullmatch(place)
        if found is None or topic not in known:
            raise ValueError(
                f"{text!r} names no dead letter; write TOPIC/PARTITION/OFFSET, such as sms-dlq/0/17, with one of the"
                f" topics {', '.join(known)}"
            )
        return cls(topic, int(found[1]), int(found[2]))


class Kind(Struct, frozen=True, kw_only=True):
    """One type of dead letter. `name` is what people call its topic; `doubt` says why a redrive would fail again."""

    name: str
    topic: AnyTopic
    carries: type[Struct]
    facts: Callable[[Any], Facts]
    redrive: Callable[[Any], RedriveRecord | NotRedrivable]
    doubt: Callable[[Any, int], str | None] = lambda _letter, _now_ms: None


def read(value: bytes | None) -> DeadLetter | None:
    """The dead letter in a record's value; None if this version cannot decode it."""
    try:
        return _decode(value or b"")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def kind_of(dead: DeadLetter, topic: str | None = None) -> Kind:
    """The entry for a dead letter. `topic` decides for unreadable records, which several topics carry."""
    fitting = [kind for kind in KINDS if kind.carries is type(dead)]
    return next((kind for kind in fitting if kind.topic.name == topic), fitting[0])


def _sms_facts(dead: m.SmsDeadLetter) -> Facts:
    return _request_facts(dead, SMS_LANES[dead.request.severity], dead.request.request_id, dead.request.alert_id)


def _redrive_sms(dead: m.SmsDeadLetter) -> RedriveRecord:
    return request_again(dead.request, SMS_LANES[dead.request.severity], dead.request.user_id)


def _request_facts(
    dead: m.SmsDeadLetter | m.EmailDeadLetter | m.DigestDeadLetter,
    lane: AnyTopic,
    request_id: str,
    alert_id: str | None = None,
) -> Facts:
    return Facts(
        lane=lane.name,
        reason=dead.reason,
        error_code=dead.error_code,
        error=dead.error,
        at_ms=dead.at_ms,
        attempts=dead.attempts,
        redrives=dead.request.redrives,
        organization_id=dead.request.organization_id,
        user_id=dead.request.user_id,
        request_id=request_id,
        alert_id=alert_id,
    )


def _unreadable_facts(dead: m.UnreadableRecord) -> Facts:
    return Facts(
        lane=dead.topic, reason=dead.reason, error_code=dead.reason, error=dead.detail, at_ms=dead.at_ms, attempts=0
    )


def _redrive_unreadable(dead: m.UnreadableRecord) -> NotRedrivable:
    failed = "could not be decoded" if dead.reason is m.Unusable.UNREADABLE else f"made build {dead.build} fail"
    return NotRedrivable(
        f"the record at {dead.topic}/{dead.partition}/{dead.offset} {failed} ({dead.detail});"
        " its writer must send it again"
    )


KINDS: tuple[Kind, ...] = (
    Kind(name="sms", topic=SMS_DLQ, carries=m.SmsDeadLetter, facts=_sms_facts, redrive=_redrive_sms),
    Kind(
        name="readings",
        topic=READINGS_DLQ,
        carries=m.DeadReading,
        facts=reading_facts,
        redrive=redrive_reading,
        doubt=reading_doubt,
    ),
    Kind(
        name="email",
        topic=EMAIL_DLQ,
        carries=m.EmailDeadLetter,
        facts=lambda dead: _request_facts(dead, EMAIL_REQUESTS, dead.request.request_id),
        redrive=lambda dead: request_again(dead.request, EMAIL_REQUESTS, dead.request.user_id),
    ),
    Kind(
        name="email",
        topic=EMAIL_DLQ,
        carries=m.DigestDeadLetter,
        facts=lambda dead: _request_facts(dead, DIGEST_JOBS, dead.request.digest_id),
        redrive=lambda dead: request_again(dead.request, DIGEST_JOBS, dead.request.organization_id),
    ),
    *(
        Kind(name=name, topic=topic, carries=m.UnreadableRecord, facts=_unreadable_facts, redrive=_redrive_unreadable)
        for name, topic in (("sms", SMS_DLQ), ("email", EMAIL_DLQ))
    ),
)
NAMES = tuple(dict.fromkeys(kind.name for kind in KINDS))
DEAD_LETTER_TOPICS = tuple({kind.topic.name: kind.topic for kind in KINDS}.values())

_decode: Callable[[bytes], DeadLetter] = msgspec.json.Decoder(DeadLetter).decode
