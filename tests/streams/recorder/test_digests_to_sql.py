"""How far a digest is according to SQL, whatever arrives twice; and mails that were given up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from schemas import messages as m
from schemas import topics as t
from tests.streams.recorder.records import NOW_MS, World

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

S = m.DigestStatus


@pytest.fixture
def world(database: AsyncEngine) -> World:
    return World(database)


def step(status: m.DigestStatus, at_ms: int = NOW_MS, error: str | None = None) -> m.DigestProgress:
    return m.DigestProgress(
        digest_id="d-1",
        user_id="ann",
        organization_id="acme",
        cadence=m.Cadence.DAILY,
        timezone="America/New_York",
        period_starts_at_ms=NOW_MS - 86_400_000,
        period_ends_at_ms=NOW_MS,
        status=status,
        progress=m.PROGRESS[status],
        at_ms=at_ms,
        error=error,
    )


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([S.DUE, S.WAITING, S.COUNTED], (S.COUNTED, 50)),
        # A job that ran again after a crash.
        ([S.QUEUED, S.SENT, S.DUE, S.QUEUED], (S.SENT, 100)),
        ([S.DEAD, S.QUEUED], (S.DEAD, 100)),
        # A person sent it again.
        ([S.DEAD, S.SENDING], (S.SENDING, 90)),
        ([S.DEAD, S.SENDING, S.SENT], (S.SENT, 100)),
    ],
)
async def test_the_ledger_shows_how_far_a_summary_is(
    world: World, told: list[m.DigestStatus], expected: tuple[str, int]
) -> None:
    for number, status in enumerate(told):
        await world.take(t.DIGEST_PROGRESS, step(status, NOW_MS + number), first=number)
    assert await world.rows("SELECT status, progress FROM digest_ledger") == [expected]


async def test_steps_that_come_in_one_batch_count_as_one_after_the_other(world: World) -> None:
    await world.take(t.DIGEST_PROGRESS, step(S.SENDING), step(S.SENT, NOW_MS + 5), step(S.DUE))
    assert await world.rows("SELECT status, sent_at IS NOT NULL FROM digest_ledger") == [("sent", True)]


async def test_a_mail_and_a_summary_that_were_given_up_are_failures_of_their_user(world: World) -> None:
    mail = m.EmailRequest(
        request_id="d-1",
        job_id="j-1",
        organization_id="acme",
        user_id="ann",
        cadence=m.Cadence.DAILY,
        timezone="UTC",
        period_starts_at_ms=0,
        period_ends_at_ms=1,
        display_unit="C",
        requested_at_ms=NOW_MS,
    )
    wanted = m.DigestWanted(
        digest_id="d-2",
        organization_id="acme",
        user_id="bob",
        cadence=m.Cadence.DAILY,
        timezone="UTC",
        run_on="2026-05-05",
        due_at_ms=NOW_MS,
    )
    about = {"attempts": 2, "reason": "exhausted", "error_code": "x", "error": "why", "at_ms": NOW_MS}
    await world.take(
        t.EMAIL_DLQ,
        m.EmailDeadLetter(request=mail, **about),  # type: ignore[arg-type]
        m.DigestDeadLetter(request=wanted, **about),  # type: ignore[arg-type]
    )
    assert await world.rows("SELECT user_id, request_id, lane, attempts FROM job_failures ORDER BY 1") == [
        ("ann", "d-1", "email-requests", 2),
        ("bob", "d-2", "digest-jobs", 2),
    ]


def email(of: type[m.EmailOutcome], **fields: Any) -> m.EmailOutcome:
    about: dict[str, Any] = {
        "request_id": "d-1",
        "organization_id": "acme",
        "user_id": "ann",
        "cadence": m.Cadence.DAILY,
        "attempt": 1,
        "at_ms": NOW_MS,
    }
    return of(**about | fields)


async def test_every_decision_about_a_mail_is_a_row_of_the_log_once(world: World) -> None:
    outcomes = [
        email(m.EmailSending),
        email(m.EmailFailed, error_code="421", error="try later\x00"),
        email(m.EmailRetryScheduled, due_at_ms=NOW_MS + 2_000, error_code="421"),
        email(m.EmailUnknown, message_id="<d-1@example.com>"),
        email(m.EmailSent, provider_message_id="p", message_id="<d-1@example.com>"),
        email(m.EmailCancelled, because="unsubscribed"),
        email(m.EmailDead, reason="exhausted", error_code="421"),
    ]
    await world.take(t.EMAIL_OUTCOMES, *outcomes)
    await world.take(t.EMAIL_OUTCOMES, *outcomes)
    assert await world.rows(
        "SELECT outcome, error_code, error, message_id, due_at IS NOT NULL FROM email_log ORDER BY entry_id"
    ) == [
        ("email_sending", None, None, None, False),
        ("email_failed", "421", "try later\N{REPLACEMENT CHARACTER}", None, False),
        ("email_retry_scheduled", "421", None, None, True),
        ("email_unknown", None, None, "<d-1@example.com>", False),
        ("email_sent", None, None, "<d-1@example.com>", False),
        ("email_cancelled", None, "unsubscribed", None, False),
        ("email_dead", "421", "exhausted", None, False),
    ]
