"""What sending a dead letter again comes to in SQL: the letter in a row, the decision, the records for the relay."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from msgspec import Struct

from api.problems import Problem
from database.declarative import from_ms, to_ms
from domain.redrive.dead_letters import LetterId, kind_of, masked_text, read
from domain.redrive.redrive import HOUR_MS, Options, Reason, Refused, already_sent, decide
from outbox.alert_states import alert_standings
from outbox.redrives import SETTLED_TYPE, headers, settlement
from outbox.writer import Prepared, publish_prepared
from schemas.http.dead_letters import DeadLetterKind, DeadLetterView, Refusal, SentAgain
from schemas.messages import encode
from schemas.topics import DEAD_LETTER_SETTLEMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from database.records import JobFailureRow
    from domain.redrive.dead_letters import Letter
    from domain.redrive.redrive_record import Facts, Revived
    from schemas.http.dead_letters import RetryOrder


class Judged(Struct, frozen=True):
    """A row, the letter in it (None when this version cannot read it), and what would become of it."""

    row: JobFailureRow
    letter: Letter | None
    facts: Facts | None
    decision: Revived | Refused

    @property
    def place(self) -> LetterId:
        return place_of(self.row)


def place_of(row: JobFailureRow) -> LetterId:
    return LetterId(row.source_topic, row.source_partition, row.source_offset)


def options_of(order: RetryOrder) -> Options:
    return Options(force=order.force, max_age_ms=round(order.max_age_h * HOUR_MS))


async def judge_rows(
    session: AsyncSession, rows: Sequence[JobFailureRow], *, now: datetime, options: Options
) -> list[Judged]:
    """What would become of each row's letter, with what the database knows of its alert."""
    letters = [read(row.payload) for row in rows]
    facts = [
        None if letter is None else kind_of(letter, row.source_topic).facts(letter)
        for row, letter in zip(rows, letters, strict=True)
    ]
    alerts = await alert_standings(session, {fact.alert_id for fact in facts if fact and fact.alert_id})
    judged = []
    for row, letter, fact in zip(rows, letters, facts, strict=True):
        decision: Revived | Refused
        if row.settled_at is not None:
            decision = already_sent(row.settled_by, row.redrives)
        elif letter is None or fact is None:
            decision = Refused(
                Reason.LIFELESS,
                "this version cannot read what is kept of the letter; its writer must write it anew",
                forcible=False,
            )
        else:
            alert = alerts.get(fact.alert_id or "")
            decision = decide(letter, now_ms=to_ms(now), options=options, alert=alert)
        judged.append(Judged(row, letter, fact, decision))
    return judged


async def send_rows(session: AsyncSession, judged: Sequence[Judged], *, by: str, now: datetime) -> None:
    """Settle the rows that may be sent again, and hand their records, with the marks, to the relay."""
    records = []
    at_ms = to_ms(now)
    for one in judged:
        if isinstance(one.decision, Refused):
            continue
        one.row.settled_at, one.row.settled_by = from_ms(at_ms), by
        one.row.redrives = one.decision.redrives
        mark = settlement(one.place, one.decision, by=by, at_ms=at_ms)
        records.append(prepared(one.decision, one.place))
        records.append(
            Prepared(
                DEAD_LETTER_SETTLEMENTS,
                mark.letter_id,
                encode(mark),
                SETTLED_TYPE,
                f"settled {mark.letter_id}",
                {},
            )
        )
    await session.flush()
    await publish_prepared(session, records)


def prepared(revived: Revived, place: LetterId | None) -> Prepared:
    """The record as the outbox keeps it."""
    return Prepared(
        revived.topic, revived.key, revived.value, revived.message_type, revived.message_id, headers(revived, place)
    )


def sent_again(revived: Revived) -> SentAgain:
    return SentAgain(sent_to=revived.topic.name, redrives=revived.redrives, message_id=revived.message_id)


def refusal_of(decision: Revived | Refused) -> Refusal | None:
    if isinstance(decision, Refused):
        return Refusal(reason=decision.reason, detail=decision.detail, forcible=decision.forcible)
    return None


def refused_problem(refused: Refused) -> Problem:
    """409 with the reason as a word of its own."""
    return Problem(
        HTTPStatus.CONFLICT,
        refused.detail,
        slug="not-sent-again",
        more={"reason": refused.reason, "forcible": refused.forcible},
    )


def view_of(judged: Judged) -> DeadLetterView:
    row, facts = judged.row, judged.facts
    return DeadLetterView(
        failure_id=row.failure_id,
        letter=str(judged.place),
        kind=None if judged.letter is None else DeadLetterKind(kind_of(judged.letter, row.source_topic).name),
        lane=row.lane,
        organization_id=row.organization_id,
        user_id=row.user_id,
        request_id=row.request_id,
        alert_id=None if facts is None else facts.alert_id,
        reason=row.reason,
        error_code=row.error_code,
        error=None if row.error is None else masked_text(row.error),
        attempts=row.attempts if facts is None else facts.attempts,
        redrives=row.redrives if facts is None else max(row.redrives, facts.redrives),
        failed_at=row.failed_at,
        settled_at=row.settled_at,
        settled_by=row.settled_by,
        refusal=refusal_of(judged.decision),
    )
