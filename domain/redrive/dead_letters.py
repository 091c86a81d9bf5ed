"""What lies in the dead-letter topics, whatever it was: where it lies, what people ask about it, what they pick.

`KINDS` is the register. A new lane is one entry there: its dead-letter topic, the letter's type, the facts that lists
show, and the record that the letter becomes when it is sent again (`redrive.py` decides whether it may be). Tests name
what belongs to it: the topic in `schemas.topics.REDRIVE_TOPICS`, the word in `schemas.http.dead_letters`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import msgspec
from msgspec import Struct

from domain.notification.phone import masked
from domain.redrive.reading_redrive import reading_doubt, reading_facts, revive_reading
from domain.redrive.redrive_record import Facts, Lifeless, Revived, request_again
from schemas import messages as m
from schemas.topics import DIGEST_JOBS, EMAIL_DLQ, EMAIL_REQUESTS, READINGS_DLQ, SMS_DLQ, SMS_LANES, AnyTopic

if TYPE_CHECKING:
    from collections.abc import Callable

Letter: TypeAlias = m.SmsDeadLetter | m.DeadReading | m.EmailDeadLetter | m.DigestDeadLetter | m.UnreadableRecord

_PHONE = re.compile(r"(?<![\w-])\+?[1-9]\d{9,14}(?![\w-])")
_PLACE = re.compile(r"([0-9]{1,5})/([0-9]{1,18})")
_ADDRESS = re.compile(r"([^\s<>\"'@])[^\s<>\"'@]*@([^\s<>\"'@]+)")


class LetterId(Struct, frozen=True):
    """The place of a letter, and the name that people give it: `TOPIC/PARTITION/OFFSET`, without any prefix."""

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
    """One type of letter. `name` is what people call its topic; `doubt` tells why the same would only fail again."""

    name: str
    topic: AnyTopic
    letter: type[Struct]
    facts: Callable[[Any], Facts]
    revive: Callable[[Any], Revived | Lifeless]
    doubt: Callable[[Any, int], str | None] = lambda _letter, _now_ms: None


class Selection(Struct, frozen=True, kw_only=True):
    """A filter; None takes all. Times are milliseconds, `since` included, `until` not."""

    names: frozenset[str] | None = None
    organization_id: str | None = None
    user_id: str | None = None
    reason: str | None = None
    error_code: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def takes(self, kind: Kind, facts: Facts) -> bool:
        return (
            (self.names is None or kind.name in self.names)
            and self.organization_id in (None, facts.organization_id)
            and self.user_id in (None, facts.user_id)
            and self.reason in (None, facts.reason)
            and self.error_code in (None, facts.error_code)
            and (self.since_ms is None or facts.at_ms >= self.since_ms)
            and (self.until_ms is None or facts.at_ms < self.until_ms)
        )


def masked_text(text: str) -> str:
    """An error's words without the numbers and addresses that a provider may have put there.

    >>> masked_text("+12025550123 and ann@example.com bounced")
    '+12*******23 and a***@example.com bounced'
    """
    return _ADDRESS.sub(r"\1***@\2", _PHONE.sub(lambda found: masked(found[0]), text))


def read(value: bytes | None) -> Letter | None:
    """The letter in a record of a dead-letter topic; None when it is none that this version knows."""
    try:
        return _decode(value or b"")
    except (msgspec.MsgspecError, ValueError):
        return None


def kind_of(letter: Letter, topic: str | None = None) -> Kind:
    """The entry for a letter. What could not be read lies in several topics: `topic` tells which."""
    fitting = [kind for kind in KINDS if kind.letter is type(letter)]
    return next((kind for kind in fitting if kind.topic.name == topic), fitting[0])


def _sms_facts(letter: m.SmsDeadLetter) -> Facts:
    return _request_facts(
        letter, SMS_LANES[letter.request.severity], letter.request.request_id, letter.request.alert_id
    )


def _revive_sms(letter: m.SmsDeadLetter) -> Revived:
    return request_again(letter.request, SMS_LANES[letter.request.severity], letter.request.user_id)


def _request_facts(
    letter: m.SmsDeadLetter | m.EmailDeadLetter | m.DigestDeadLetter,
    lane: AnyTopic,
    request_id: str,
    alert_id: str | None = None,
) -> Facts:
    return Facts(
        lane=lane.name,
        reason=letter.reason,
        error_code=letter.error_code,
        error=letter.error,
        at_ms=letter.at_ms,
        attempts=letter.attempts,
        redrives=letter.request.redrives,
        organization_id=letter.request.organization_id,
        user_id=letter.request.user_id,
        request_id=request_id,
        alert_id=alert_id,
    )


def _unreadable_facts(letter: m.UnreadableRecord) -> Facts:
    return Facts(
        lane=letter.topic, reason="unreadable", error_code="unreadable", error=letter.detail, at_ms=letter.at_ms
    )


def _revive_unreadable(letter: m.UnreadableRecord) -> Lifeless:
    return Lifeless(
        f"the record at {letter.topic}/{letter.partition}/{letter.offset} could not be decoded ({letter.detail});"
        " its writer must write it anew"
    )


KINDS: tuple[Kind, ...] = (
    Kind(name="sms", topic=SMS_DLQ, letter=m.SmsDeadLetter, facts=_sms_facts, revive=_revive_sms),
    Kind(
        name="readings",
        topic=READINGS_DLQ,
        letter=m.DeadReading,
        facts=reading_facts,
        revive=revive_reading,
        doubt=reading_doubt,
    ),
    Kind(
        name="email",
        topic=EMAIL_DLQ,
        letter=m.EmailDeadLetter,
        facts=lambda letter: _request_facts(letter, EMAIL_REQUESTS, letter.request.request_id),
        revive=lambda letter: request_again(letter.request, EMAIL_REQUESTS, letter.request.user_id),
    ),
    Kind(
        name="email",
        topic=EMAIL_DLQ,
        letter=m.DigestDeadLetter,
        facts=lambda letter: _request_facts(letter, DIGEST_JOBS, letter.request.digest_id),
        revive=lambda letter: request_again(letter.request, DIGEST_JOBS, letter.request.organization_id),
    ),
    *(
        Kind(name=name, topic=topic, letter=m.UnreadableRecord, facts=_unreadable_facts, revive=_revive_unreadable)
        for name, topic in (("sms", SMS_DLQ), ("email", EMAIL_DLQ))
    ),
)
NAMES = tuple(dict.fromkeys(kind.name for kind in KINDS))
DEAD_LETTER_TOPICS = tuple({kind.topic.name: kind.topic for kind in KINDS}.values())

_decode: Callable[[bytes], Letter] = msgspec.json.Decoder(Letter).decode
