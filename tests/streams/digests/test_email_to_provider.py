"""One mail: when it leaves, what is told of it, what becomes of it when something fails."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, cast

import pytest

from cli.contracts.asyncapi import headers_of
from domain.notification.error_class import ErrorClass
from domain.notification.request_state import Standing
from schemas import messages as m
from schemas.topics import EMAIL_DLQ
from streams.digests import email_to_provider
from streams.digests.email_retries_to_email import EmailRetries
from streams.digests.mail.answers import Refused, Silence, Taken, Unanswered
from streams.digests.mail.decisions import DEFERRAL_MS, after_answer
from streams.digests.mail.ledger import KEEP_MS, Entry, is_over
from streams.engine.consumer import Stale
from tests.streams.digests.mail_world import ANN, World, mail_request
from tests.streams.fakes import NOW_MS, FakeBatch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.digests.mail.answers import Answer
    from streams.engine.consumer import Batch
    from streams.engine.timers import Timer


def refused(error_class: ErrorClass, retry_after_s: float | None = None) -> Refused:
    return Refused(error_class, "smtp-451", "4.3.0 no", retry_after_s)


def test_a_mail_leaves_after_its_attempt_is_known_and_carries_the_users_own_link() -> None:
    world = World()
    world.send(mail_request())
    (mail,) = world.provider.got
    assert (mail.recipient.email, mail.message_id) == ("ann@example.com", "<digest-ann@freshtrack.example.com>")
    assert mail.unsubscribe_url.startswith("https://freshtrack.example.com/unsubscribe/")
    assert mail.unsubscribe_url in mail.text
    assert "links.invalid" not in mail.html + mail.text
    assert world.outcomes() == ["EmailSending", "EmailSent"]
    assert world.progress() == ["sending", "sent"]
    assert world.standing() is Standing.SENT


def test_a_mail_that_is_read_again_is_not_sent_again() -> None:
    world = World()
    world.send(mail_request(), mail_request())
    world.send(mail_request())
    assert len(world.provider.got) == 1


def test_no_address_is_in_any_record() -> None:
    world = World(refused(ErrorClass.TRANSIENT), refused(ErrorClass.RECIPIENT))
    world.send(mail_request())
    world.send(mail_request(attempts=1))
    for record in world.broker.published:
        headers = b"".join(value for _, value in record.headers)
        assert b"ann@example.com" not in (record.value or b"") + (record.key or b"") + headers


def test_after_a_crash_between_sending_and_knowing_it_is_unknown_and_sent_under_the_same_id() -> None:
    world = World()
    world.provider.dies = True
    with pytest.raises(KeyboardInterrupt):
        world.send(mail_request())
    world.provider.dies = False
    assert world.standing() is Standing.SENDING
    world.send(mail_request())
    assert world.outcomes() == ["EmailSending", "EmailUnknown", "EmailSending", "EmailSent"]
    assert len({mail.message_id for mail in world.provider.got}) == 1


@pytest.mark.parametrize(
    ("answer", "due_in_ms"),
    [
        # 2 s, 4 s; 0 to 50 % more
        (refused(ErrorClass.TRANSIENT), (2_000, 3_000)),
        (refused(ErrorClass.THROTTLED), (60_000, 60_000)),
        (refused(ErrorClass.THROTTLED, 7.0), (7_000, 7_000)),
        (Unanswered(Silence.TIMEOUT, "20 s"), (5_000, 5_000)),
        (Unanswered(Silence.NOT_CONNECTED, "refused"), (5_000, 5_000)),
    ],
)
def test_what_may_go_well_later_is_tried_again(answer: Answer, due_in_ms: tuple[int, int]) -> None:
    world = World(answer)
    world.send(mail_request())
    (retry,) = world.retries()
    assert (retry.attempt, retry.request.attempts) == (1, 1)
    assert due_in_ms[0] <= retry.due_at_ms - NOW_MS <= due_in_ms[1]
    assert world.standing() is Standing.WAITING
    # The record itself, read again, leaves it to the retry; the retry sends it.
    world.send(mail_request())
    world.send(retry.request)
    assert len(world.provider.got) == 2
    assert world.standing() is Standing.SENT


def test_a_second_failure_waits_twice_as_long_and_a_third_is_the_last() -> None:
    rng = random.Random(3)
    second = after_answer(refused(ErrorClass.TRANSIENT), attempt=2, now_ms=0, rng=rng)
    assert 4_000 <= getattr(second, "due_at_ms", 0) <= 6_000
    world = World(refused(ErrorClass.TRANSIENT))
    world.send(mail_request(attempts=2))
    (letter,) = world.dead()
    assert isinstance(letter, m.EmailDeadLetter)
    assert (letter.reason, letter.attempts, letter.error_code) == ("exhausted", 3, "smtp-451")
    assert world.outcomes() == ["EmailSending", "EmailFailed", "EmailDead"]
    assert world.progress() == ["sending", "dead"]


@pytest.mark.parametrize("error_class", [ErrorClass.RECIPIENT, ErrorClass.MESSAGE, ErrorClass.ASK_A_PERSON])
def test_what_no_retry_helps_is_dead_at_once(error_class: ErrorClass) -> None:
    world = World(refused(error_class))
    world.send(mail_request())
    (letter,) = world.dead()
    assert isinstance(letter, m.EmailDeadLetter)
    assert (letter.reason, letter.attempts) == (error_class.value, 1)
    assert world.retries() == []


def test_a_dead_letter_carries_every_documented_header() -> None:
    world = World(refused(ErrorClass.RECIPIENT))
    world.send(mail_request())
    (record,) = [record for record in world.broker.published if record.topic == "email-dlq"]
    documented = headers_of(EMAIL_DLQ, m.EmailDeadLetter)["properties"]
    assert isinstance(documented, dict)
    assert set(dict(record.headers)) == set(documented)


def test_our_own_mistake_uses_up_nobodys_attempts() -> None:
    world = World(refused(ErrorClass.CONFIGURATION))
    world.send(mail_request())
    (retry,) = world.retries()
    assert (retry.attempt, retry.due_at_ms) == (0, NOW_MS + DEFERRAL_MS)
    world.send(retry.request)
    assert world.standing() is Standing.SENT


class Log:
    """Counts what is told, by level."""

    def __init__(self) -> None:
        self.told: Counter[str] = Counter()

    def error(self, event: str, **_: object) -> None:
        self.told[f"error {event}"] += 1

    def info(self, event: str, **_: object) -> None:
        self.told[f"info {event}"] += 1


def test_ops_is_told_once_of_our_own_mistake_and_again_after_a_mail_went_well(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    monkeypatch.setattr(email_to_provider, "log", log)
    mistake = refused(ErrorClass.CONFIGURATION)
    world = World(mistake, mistake, mistake, Taken("250"), mistake)
    for _ in range(3):
        world.send(mail_request())
    assert log.told == {"error email.deferred": 1, "info email.deferred": 2}
    world.send(mail_request())
    world.send(mail_request(request_id="another"))
    assert log.told["error email.deferred"] == 2
    assert world.mailing.decided == {"Deferred": 4, "Taken": 1}


def test_a_database_that_is_away_puts_mails_off() -> None:
    world = World()
    world.store.render_error = ConnectionRefusedError("no database")
    world.send(mail_request())
    assert [retry.attempt for retry in world.retries()] == [0]
    assert world.provider.got == []


@pytest.mark.parametrize(
    ("request_", "people", "reason"),
    [
        (mail_request("bob", asked_for=True), [ANN], "no_contact"),
        (mail_request(), [m.Contact(user_id="ann", organization_id="org-1", name="Ann")], "no_address"),
        (mail_request(), [m.Contact(user_id="ann", organization_id="org-1", name="A", email="ann@@")], "bad_address"),
        (mail_request(job_id="gone"), [ANN], "no_letter"),
    ],
)
def test_a_mail_that_cannot_be_sent_is_dead_and_says_why(
    request_: m.EmailRequest, people: list[m.Contact], reason: str
) -> None:
    world = World(people=people)
    world.send(request_)
    assert [getattr(letter, "reason", "") for letter in world.dead()] == [reason]
    assert world.provider.got == []


def test_who_unsubscribed_after_the_mail_was_queued_gets_it_no_more() -> None:
    world = World()
    world.preferences._entries["ann"] = m.DigestPreference(
        user_id="ann", organization_id="org-1", cadences=(m.Cadence.WEEKLY,)
    )
    world.send(mail_request())
    world.send(mail_request())
    assert world.provider.got == []
    assert world.outcomes() == ["EmailCancelled"]
    # What a person asks for now is sent all the same.
    world.send(mail_request(request_id="now", asked_for=True))
    assert len(world.provider.got) == 1


def test_a_mail_that_a_person_sends_again_begins_anew() -> None:
    world = World(refused(ErrorClass.RECIPIENT))
    world.send(mail_request())
    world.send(mail_request(redrives=1))
    assert len(world.provider.got) == 2
    assert world.standing() is Standing.SENT


def test_five_mails_leave_at_a_time() -> None:
    people = [m.Contact(user_id=f"u{n}", organization_id="org-1", name="U", email="u@example.com") for n in range(12)]
    world = World(people=people)
    world.send(*(mail_request(person.user_id) for person in people))
    assert world.provider.most_in_flight == 5
    assert len(world.provider.got) == 12


def test_a_record_that_is_no_request_is_a_dead_letter_and_the_others_go_on() -> None:
    world = World()
    world.send(b"{", mail_request())
    assert isinstance(world.dead()[0], m.UnreadableRecord)
    assert len(world.provider.got) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("how", ["ending", "lost"])
async def test_nothing_leaves_for_a_partition_that_is_about_to_go(how: str) -> None:
    world = World()
    batch = FakeBatch([mail_request()])
    batch.ending, batch.ours = how == "ending", how != "lost"
    with pytest.raises(Stale):
        await world.mailing.handle(cast("Batch", batch))
    assert world.provider.got == []


@pytest.mark.anyio
async def test_a_retry_waits_in_a_timer_and_comes_back_with_its_trace() -> None:
    class Timers:
        def __init__(self) -> None:
            self.found: list[Timer] = []

        async def set(self, slot: object, timers: Iterable[Timer]) -> None:
            self.found += timers

    world, timers = World(), Timers()
    retries = EmailRetries(timers, world.mailing._records, world.broker.publish, str)
    retry = m.EmailRetry(
        request=mail_request(attempts=1), attempt=1, due_at_ms=NOW_MS + 2_000, error_code="x", error="why"
    )
    batch = FakeBatch([retry, b"{"])
    batch.records[0].headers = [("traceparent", b"00-abc"), ("type", b"email_retry")]  # type: ignore[misc]
    await retries.handle(cast("Batch", batch))
    (timer,) = timers.found
    assert (timer.topic, timer.key, timer.due_at_ms) == ("email-requests", b"ann", NOW_MS + 2_000)
    assert timer.value == m.encode(retry.request)
    assert dict(timer.headers)["traceparent"] == b"00-abc"
    assert [type(letter) for letter in world.dead()] == [m.UnreadableRecord]


@pytest.mark.anyio
async def test_the_ledger_forgets_what_is_settled_and_cannot_be_read_again() -> None:
    world = World()
    batch = cast("Batch", FakeBatch([]))
    old = NOW_MS - KEEP_MS - 1
    for name, standing, at_ms in (
        ("old", Standing.SENT, old),
        ("new", Standing.SENT, NOW_MS),
        ("open", Standing.WAITING, old),
    ):
        await world.ledger.write(batch, name, Entry().moved(standing, 1, 0, at_ms))
    assert [is_over(raw, NOW_MS) for raw in world.table.rows.values()] == [True, False, False]


def test_an_answer_that_nobody_knows_is_tried_once_more_after_a_minute() -> None:
    unknown = refused(ErrorClass.UNKNOWN)
    rng = random.Random(1)
    assert getattr(after_answer(unknown, attempt=1, now_ms=0, rng=rng), "due_at_ms", 0) == 60_000
    assert type(after_answer(unknown, attempt=2, now_ms=0, rng=rng)).__name__ == "DeadMail"
    assert after_answer(Taken("x"), attempt=1, now_ms=0, rng=rng) == Taken("x")
