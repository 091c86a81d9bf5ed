"""One mail: when it leaves, what is published about it, what becomes of it when something fails."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from cli.contracts.asyncapi import headers_of
from domain.notification.answers import Accepted, NoAnswer, Refused, Unanswered
from domain.notification.error_class import ErrorClass
from domain.notification.request_state import RequestState
from schemas import messages as m
from schemas.topics import EMAIL_DLQ
from streams.digests.email_retries_to_email import EmailRetries
from streams.digests.mail import conclusion
from streams.digests.mail.ledger import KEEP_MS, Entry, is_over
from streams.engine.consumer import Stale
from tests.streams.digests.mail_world import ANN, DEADLINE_MS, World, mail_request
from tests.streams.fakes import NOW_MS, FakeBatch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from domain.notification.answers import Answer
    from streams.engine.consumer import Batch
    from streams.engine.timers import Timer


def refused(error_class: ErrorClass, retry_after_s: float | None = None) -> Refused:
    return Refused(error_class, "smtp-451", "4.3.0 no", retry_after_s=retry_after_s)


def test_a_mail_leaves_after_its_attempt_is_known_and_carries_the_users_own_link() -> None:
    world = World()
    world.send(mail_request())
    (mail,) = world.provider.got
    assert (mail.recipient.email, mail.message_id) == ("ann@example.com", "<digest-ann@freshtrack.example.com>")
    assert mail.unsubscribe_url is not None
    assert mail.unsubscribe_url.startswith("https://freshtrack.example.com/unsubscribe/")
    assert mail.unsubscribe_url in mail.text
    assert "links.invalid" not in mail.html + mail.text
    assert world.outcomes() == ["EmailSending", "EmailSent"]
    assert world.progress() == ["sending", "sent"]
    assert world.state() is RequestState.SENT


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
    assert world.state() is RequestState.SENDING
    world.send(mail_request())
    assert world.outcomes() == ["EmailSending", "EmailUnknown", "EmailSending", "EmailSent"]
    assert len({mail.message_id for mail in world.provider.got}) == 1


@pytest.mark.parametrize(
    ("answer", "due_in_ms", "attempts"),
    [
        # about this mail: 2 s and 0 to 50 % more
        (refused(ErrorClass.TRANSIENT), (2_000, 3_000), 1),
        # about the provider: no attempt is used up
        (refused(ErrorClass.THROTTLED), (60_000, 60_000), 0),
        (refused(ErrorClass.THROTTLED, 7.0), (7_000, 7_000), 0),
        (refused(ErrorClass.UNAVAILABLE), (1_000, 1_500), 0),
        (Unanswered(NoAnswer.TIMEOUT, "20 s"), (5_000, 5_000), 0),
        (Unanswered(NoAnswer.NOT_CONNECTED, "refused"), (1_000, 1_500), 0),
    ],
)
def test_what_may_go_well_later_is_tried_again(answer: Answer, due_in_ms: tuple[int, int], attempts: int) -> None:
    world = World(answer)
    world.send(mail_request())
    (retry,) = world.retries()
    assert (retry.attempt, retry.request.attempts) == (attempts, attempts)
    assert due_in_ms[0] <= retry.due_at_ms - NOW_MS <= due_in_ms[1]
    assert world.state() is RequestState.WAITING
    world.send(retry.request)
    assert len(world.provider.got) == 2
    assert world.state() is RequestState.SENT


def test_a_record_that_is_read_again_leaves_the_next_attempt_to_the_retry() -> None:
    world = World(refused(ErrorClass.TRANSIENT))
    world.send(mail_request())
    world.send(mail_request())
    assert len(world.provider.got) == 1


def test_a_third_failure_about_the_mail_itself_is_the_last() -> None:
    world = World(refused(ErrorClass.TRANSIENT))
    world.send(mail_request(attempts=2))
    (letter,) = world.dead()
    assert isinstance(letter, m.EmailDeadLetter)
    assert (letter.reason, letter.attempts, letter.error_code) == ("exhausted", 3, "smtp-451")
    assert world.outcomes() == ["EmailSending", "EmailFailed", "EmailDead"]
    assert world.progress() == ["sending", "dead"]


def test_a_mail_server_that_is_away_for_an_hour_costs_no_mail() -> None:
    world = World(*[Unanswered(NoAnswer.NOT_CONNECTED, "refused")] * 100)
    request, deferrals = mail_request(), 0
    while world.state() is not RequestState.SENT:
        world.send(request)
        if len(world.retries()) > deferrals:
            deferrals = len(world.retries())
            retry = world.retries()[-1]
            request, world.now_ms = retry.request, retry.due_at_ms
    assert deferrals == 100
    assert world.dead() == []


def test_while_the_server_is_away_one_mail_at_a_time_is_a_probe() -> None:
    people = [msgspec.structs.replace(ANN, user_id=f"u{n}") for n in range(5)]
    world = World(*[Unanswered(NoAnswer.NOT_CONNECTED, "refused")] * 2, people=people)
    world.send(mail_request("u0"))
    world.send(*(mail_request(person.user_id) for person in people[1:]))
    # One failure opened the breaker; of the other four only the first met it half-open.
    assert len(world.retries()) == 2
    assert len(world.provider.got) == 5


def test_a_mail_ends_by_its_deadline() -> None:
    world = World()
    world.now_ms += DEADLINE_MS
    world.send(mail_request())
    (letter,) = world.dead()
    assert getattr(letter, "reason", "") == "expired"
    assert world.provider.got == []
    # What a person sends again has all the time again.
    world.send(mail_request(redrives=1))
    assert len(world.provider.got) == 1


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
    (record,) = [record for record in world.broker.published if record.topic.name == "email-dlq"]
    documented = headers_of(EMAIL_DLQ, m.EmailDeadLetter)["properties"]
    assert isinstance(documented, dict)
    assert set(dict(record.headers)) == set(documented)


def test_our_own_mistake_uses_up_nobodys_attempts() -> None:
    world = World(refused(ErrorClass.CONFIGURATION))
    world.send(mail_request())
    (retry,) = world.retries()
    assert (retry.attempt, retry.due_at_ms) == (0, NOW_MS + 1_000)
    world.send(retry.request)
    assert world.state() is RequestState.SENT


class Log:
    """Counts what is logged, by level."""

    def __init__(self) -> None:
        self.told: Counter[str] = Counter()

    def error(self, event: str, **_: object) -> None:
        self.told[f"error {event}"] += 1

    def info(self, event: str, **_: object) -> None:
        self.told[f"info {event}"] += 1


def test_ops_is_told_once_of_our_own_mistake_and_again_after_a_mail_went_well(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    monkeypatch.setattr(conclusion, "log", log)
    mistake = refused(ErrorClass.CONFIGURATION)
    world = World(mistake, mistake, mistake, Accepted("250"), mistake)
    for _ in range(3):
        world.send(mail_request())
    assert log.told == {"error email.deferred": 1, "info email.deferred": 2}
    world.send(mail_request())
    world.send(mail_request(request_id="another"))
    assert log.told["error email.deferred"] == 2
    assert world.conclusion.decided == {"paused": 4, "sent": 1}


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
    assert world.state() is RequestState.SENT


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
    retries = EmailRetries(timers, world.broker.publish, world.now)
    retry = m.EmailRetry(
        request=mail_request(attempts=1), attempt=1, due_at_ms=NOW_MS + 2_000, error_code="x", error="why"
    )
    batch = FakeBatch([retry, b"{"])
    batch.records[0].headers = [("traceparent", b"00-abc"), ("type", b"email_retry")]  # type: ignore[misc]
    await retries.handle(cast("Batch", batch))
    (timer,) = timers.found
    assert (timer.topic.name, timer.key, timer.due_at_ms) == ("email-requests", b"ann", NOW_MS + 2_000)
    assert timer.value == m.encode(retry.request)
    assert dict(timer.headers)["traceparent"] == b"00-abc"
    assert [type(letter) for letter in world.dead()] == [m.UnreadableRecord]


@pytest.mark.anyio
async def test_the_ledger_forgets_what_is_settled_and_cannot_be_read_again() -> None:
    world = World()
    batch = cast("Batch", FakeBatch([]))
    old = NOW_MS - KEEP_MS - 1
    for name, state, at_ms in (
        ("old", RequestState.SENT, old),
        ("new", RequestState.SENT, NOW_MS),
        ("open", RequestState.WAITING, old),
    ):
        await world.ledger.write(batch, name, Entry().moved(state, 1, 0, at_ms))
    assert [is_over(raw, NOW_MS) for raw in world.table.rows.values()] == [True, False, False]
