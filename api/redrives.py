"""What the API says about a redrive: what it sends, why it does not, and the dead letter as lists show it."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from api.problems import Problem
from domain.personal_data import masked_text
from domain.redrive.dead_letters import kind_of
from domain.redrive.redrive import HOUR_MS, Options, Refused
from schemas.http.dead_letters import DeadLetterKind, DeadLetterView, Refusal, SentAgain

if TYPE_CHECKING:
    from domain.redrive.redrive_record import RedriveRecord
    from outbox.redrives import Judged
    from schemas.http.dead_letters import RetryOrder


def options_of(order: RetryOrder) -> Options:
    return Options(force=order.force, max_age_ms=round(order.max_age_h * HOUR_MS))


def sent_again(record: RedriveRecord) -> SentAgain:
    return SentAgain(sent_to=record.topic.name, redrives=record.redrives, message_id=record.message_id)


def refusal_of(decision: RedriveRecord | Refused) -> Refusal | None:
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
        kind=None if judged.dead is None else DeadLetterKind(kind_of(judged.dead, row.source_topic).name),
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
