"""Dead letters straight from Kafka: found, judged, and sent again.

A letter that was sent again is marked in the topic `dead-letter-settlements`, after the broker has its record. Whoever
dies in between leaves it unmarked: the next run sends the same record once more, under the same `id`, and the lanes
know it by its request and count of redrives.
"""

from __future__ import annotations

import heapq
import time
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from domain.redrive.dead_letters import DEAD_LETTER_TOPICS, KINDS, Kind, Letter, LetterId, Selection, kind_of, read
from domain.redrive.redrive import AlertStanding, Options, Refused, decide
from domain.redrive.redrive_record import Facts, Revived
from outbox.topic_scan import READ_LIMIT_S, read_one, scan
from producers.errors import NotDeliveredError
from schemas import messages as m
from schemas.headers import Header, type_name
from schemas.topics import DEAD_LETTER_SETTLEMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from broker.settings import KafkaSettings
    from outbox.topic_scan import Found
    from producers.kafka import KafkaProducer

SETTLED_TYPE = type_name(m.DeadLetterSettled)
SEND_LIMIT_S = 30.0
# A letter says when it was given up; the broker's time for it is a moment later, or earlier by another clock.
CLOCKS_MS = 60_000

_decode_settled = msgspec.json.Decoder(m.DeadLetterSettled).decode


class Filed(Struct, frozen=True, kw_only=True):
    """A letter where it lies; `settled` when it was sent again."""

    place: LetterId
    kind: Kind
    letter: Letter
    facts: Facts
    settled: m.DeadLetterSettled | None = None
    traceparent: str | None = None


class Matches(Struct, frozen=True):
    """The letters that were asked for, and how many there are in all."""

    letters: list[Filed]
    count: int


class Verdict(Struct, frozen=True):
    """What was decided about a letter."""

    filed: Filed
    decision: Revived | Refused


class SentAgain(Struct, frozen=True):
    """The letters whose record the broker has, and why it has not that of others."""

    done: list[LetterId]
    failed: dict[LetterId, str]


def settlements(kafka: KafkaSettings, *, limit_s: float = READ_LIMIT_S) -> dict[str, m.DeadLetterSettled]:
    """What was sent again, by the letter's id. Raises TopicReadError."""
    settled: dict[str, m.DeadLetterSettled] = {}
    for found in scan(kafka, DEAD_LETTER_SETTLEMENTS, limit_s=limit_s):
        if found.value is not None:
            mark = _decode_settled(found.value)
            settled[mark.letter_id] = mark
    return settled


def find(
    kafka: KafkaSettings,
    selection: Selection,
    *,
    limit: int,
    newest: bool = True,
    open_only: bool = False,
    limit_s: float = READ_LIMIT_S,
) -> Matches:
    """The newest (or oldest) letters that the selection takes, `limit` at most, in that order. Raises TopicReadError.

    Memory is bounded by `limit`, whatever lies there.
    """
    settled = settlements(kafka, limit_s=limit_s)
    count = 0

    def taken() -> Iterator[Filed]:
        nonlocal count
        for filed in _all(kafka, selection, settled, limit_s):
            if selection.takes(filed.kind, filed.facts) and not (open_only and filed.settled):
                count += 1
                yield filed

    pick = heapq.nlargest if newest else heapq.nsmallest
    letters = pick(limit, taken(), key=lambda filed: (filed.facts.at_ms, str(filed.place)))
    return Matches(letters, count)


def fetch(kafka: KafkaSettings, place: LetterId, *, limit_s: float = READ_LIMIT_S) -> Filed | None:
    """The letter at a place; None when none lies there. Raises TopicReadError."""
    topic = next(topic for topic in DEAD_LETTER_TOPICS if topic.name == place.topic)
    found = read_one(kafka, topic, place.partition, place.offset, limit_s=limit_s)
    return None if found is None else _filed(found, settlements(kafka, limit_s=limit_s))


def judge(
    letters: Sequence[Filed], *, now_ms: int, options: Options, alerts: Mapping[str, AlertStanding] | None = None
) -> list[Verdict]:
    """What becomes of each letter; `alerts` has what is known of alerts, by their ids."""
    known = alerts or {}
    verdicts: list[Verdict] = []
    for filed in letters:
        alert = known.get(filed.facts.alert_id or "")
        decision = decide(filed.letter, now_ms=now_ms, options=options, alert=alert, settled=filed.settled)
        verdicts.append(Verdict(filed, decision))
    return verdicts


def send_again(
    producer: KafkaProducer, verdicts: Sequence[Verdict], *, by: str, now_ms: int, limit_s: float = SEND_LIMIT_S
) -> SentAgain:
    """Publish what was decided to be sent again, wait `limit_s` for the broker, then mark what it took as settled.

    Raises NotDeliveredError when the marks cannot be written.
    """
    sending = {
        verdict.filed.place: (
            revived,
            producer.publish(
                revived.topic,
                revived.key,
                revived.value,
                message_type=revived.message_type,
                record_id=revived.message_id,
                traceparent=verdict.filed.traceparent,
                more_headers=headers(revived, verdict.filed.place),
            ),
        )
        for verdict in verdicts
        if isinstance(revived := verdict.decision, Revived)
    }
    deadline = time.monotonic() + limit_s
    failed: dict[LetterId, str] = {}
    done: list[LetterId] = []
    marks = []
    for place, (revived, future) in sending.items():
        try:
            future.result(max(0.0, deadline - time.monotonic()))
        except (NotDeliveredError, TimeoutError) as error:
            failed[place] = str(error) or f"no answer within {limit_s:g} s"
            continue
        mark = settlement(place, revived, by=by, at_ms=now_ms)
        marks.append(
            producer.publish(DEAD_LETTER_SETTLEMENTS, mark.letter_id, m.encode(mark), message_type=SETTLED_TYPE)
        )
        done.append(place)
    producer.flush(limit_s)
    for marked in marks:
        marked.result(0)
    return SentAgain(done, failed)


def settlement(place: LetterId, revived: Revived, *, by: str, at_ms: int) -> m.DeadLetterSettled:
    """The mark that a letter was sent again."""
    return m.DeadLetterSettled(
        letter_id=str(place),
        by=by,
        at_ms=at_ms,
        sent_to=revived.topic.name,
        message_id=revived.message_id,
        redrives=revived.redrives,
    )


def headers(revived: Revived, place: LetterId | None) -> dict[str, str]:
    """What a record that is sent again carries besides the usual: attempts behind it, and the letter's place."""
    attempts = {Header.ATTEMPT.value: str(revived.attempts)}
    if place is None:
        return attempts
    return attempts | {
        Header.ORIGINAL_TOPIC.value: place.topic,
        Header.ORIGINAL_PARTITION.value: str(place.partition),
        Header.ORIGINAL_OFFSET.value: str(place.offset),
    }


def _all(
    kafka: KafkaSettings, selection: Selection, settled: Mapping[str, m.DeadLetterSettled], limit_s: float
) -> Iterator[Filed]:
    since_ms = None if selection.since_ms is None else selection.since_ms - CLOCKS_MS
    wanted = {kind.topic.name for kind in KINDS if selection.names is None or kind.name in selection.names}
    for topic in DEAD_LETTER_TOPICS:
        if topic.name not in wanted:
            continue
        for found in scan(kafka, topic, since_ms=since_ms, limit_s=limit_s):
            if (filed := _filed(found, settled)) is not None:
                yield filed


def _filed(found: Found, settled: Mapping[str, m.DeadLetterSettled]) -> Filed | None:
    letter = read(found.value)
    if letter is None:
        return None
    place = LetterId(found.topic, found.partition, found.offset)
    kind = kind_of(letter, found.topic)
    trace = found.headers.get(Header.TRACEPARENT)
    return Filed(
        place=place,
        kind=kind,
        letter=letter,
        facts=kind.facts(letter),
        settled=settled.get(str(place)),
        traceparent=None if trace is None else trace.decode(errors="replace"),
    )
