"""Sending again: what a letter becomes, what speaks against it, and what nobody can force."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.contracts.asyncapi import message_types
from domain.personal_data import masked_text
from domain.redrive.dead_letters import (
    DEAD_LETTER_TOPICS,
    KINDS,
    NAMES,
    DeadLetterId,
    kind_of,
    read,
)
from domain.redrive.redrive import AlertState, Reason, Refused, decide, decide_rerun
from domain.redrive.redrive_record import RedriveRecord
from schemas import messages as m
from schemas.topics import DIGEST_JOBS, EMAIL_REQUESTS, REDRIVE_TOPICS, SMS_LANES
from tests.domain.redrive.letters import (
    HOUR_MS,
    NOW_MS,
    dead_reading,
    digest_letter,
    email_letter,
    judged,
    letter,
    options,
    redriven,
    refused,
    request,
)


@given(attempts=st.integers(0, 9), redrives=st.integers(0, 4), severity=st.sampled_from(list(m.Severity)))
def test_a_dead_sms_goes_to_its_lane_as_a_request_that_begins_anew(
    attempts: int, redrives: int, severity: m.Severity
) -> None:
    dead = letter(attempts=attempts, redrives=redrives, severity=severity)
    again = redriven(dead)
    expected = request(attempts=0, redrives=redrives + 1, severity=severity)
    assert msgspec.json.decode(again.value, type=m.SmsRequest) == expected
    assert (again.topic, again.key, again.message_type) == (SMS_LANES[severity], "ann", "sms")
    assert again.redrives == redrives + 1
    assert again.attempts == 0


@given(redrives=st.integers(0, 4), later_ms=st.integers(0, HOUR_MS))
def test_the_same_letter_makes_the_same_record_whenever_it_is_sent_again(redrives: int, later_ms: int) -> None:
    dead = letter(redrives=redrives)
    assert decide(dead, now_ms=NOW_MS + later_ms, options=options()) == redriven(dead)
    assert redriven(letter(redrives=redrives + 1), force=True).message_id != redriven(dead).message_id


@given(redrives=st.integers(0, 20), age_ms=st.integers(0, 100 * HOUR_MS), acknowledged=st.booleans())
def test_what_speaks_against_it_refuses_until_it_is_forced(redrives: int, age_ms: int, *, acknowledged: bool) -> None:
    dead = letter(age_ms, redrives=redrives)
    alert = AlertState(acknowledged_by="bob" if acknowledged else None)
    decision = judged(dead, alert=alert)
    if redrives < 5 and age_ms <= 24 * HOUR_MS and not acknowledged:
        assert isinstance(decision, RedriveRecord)
    else:
        assert refused(decision).forcible
    assert isinstance(judged(dead, alert=alert, force=True), RedriveRecord)


@pytest.mark.parametrize(
    ("dead", "alert", "reason", "words"),
    [
        (letter(redrives=5), None, Reason.LOOP, ("5 times", "5 are allowed", "force")),
        (letter(24 * HOUR_MS + 1), None, Reason.STALE, ("24.0 h old", "24 h are allowed", "force")),
        (letter(), AlertState(resolved=True), Reason.ALERT_RESOLVED, ("resolved", "force")),
        (letter(), AlertState(acknowledged_by="bob"), Reason.ALERT_ACKNOWLEDGED, ("by bob", "force")),
    ],
)
def test_a_refusal_names_the_value_the_rule_and_the_way_out(
    dead: m.SmsDeadLetter, alert: AlertState | None, reason: Reason, words: tuple[str, ...]
) -> None:
    refusal = refused(judged(dead, alert=alert))
    assert refusal.reason is reason
    assert all(word in refusal.detail for word in words), refusal.detail


def test_a_forced_sms_passes_the_window_and_any_starts_without_former_failures() -> None:
    dead = letter(provider_failures=7)
    for force in (False, True):
        expected = request(redrives=1, forced=force)
        assert msgspec.json.decode(redriven(dead, force=force).value, type=m.SmsRequest) == expected
        again = decide_rerun(request(provider_failures=7), "rate_limited", now_ms=NOW_MS, options=options(force=force))
        assert isinstance(again, RedriveRecord)
        assert msgspec.json.decode(again.value, type=m.SmsRequest) == expected
    mail = msgspec.json.decode(redriven(email_letter(provider_failures=7)).value, type=m.EmailRequest)
    assert (mail.provider_failures, mail.redrives) == (0, 1)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("alert", "reason"),
    [
        (AlertState(acknowledged_by="bob"), Reason.ALERT_ACKNOWLEDGED),
        (AlertState(resolved=True), Reason.ALERT_RESOLVED),
    ],
)
def test_a_reminder_that_the_worker_would_cancel_is_refused_before_it_is_settled(
    alert: AlertState, reason: Reason, *, force: bool
) -> None:
    reminder = msgspec.structs.replace(letter(), request=request(level=2))
    refusal = refused(judged(reminder, alert=alert, force=force))
    assert (refusal.reason, refusal.forcible) == (reason, False)
    again = decide_rerun(request(level=2), "cancelled", now_ms=NOW_MS, options=options(force=force), alert=alert)
    assert refused(again).reason is reason


def test_an_age_of_exactly_the_limit_is_within_it_and_the_limit_is_an_option() -> None:
    assert isinstance(judged(letter(24 * HOUR_MS)), RedriveRecord)
    assert isinstance(decide(letter(HOUR_MS), now_ms=NOW_MS, options=options(max_age_ms=HOUR_MS - 1)), Refused)


def test_dead_mails_and_digests_go_back_where_they_came_from() -> None:
    mail, digest = redriven(email_letter(redrives=1, attempts=2)), redriven(digest_letter())
    assert (mail.topic, mail.key, mail.redrives) == (EMAIL_REQUESTS, "ann", 2)
    assert (digest.topic, digest.key, digest.redrives) == (DIGEST_JOBS, "acme", 1)


@pytest.mark.parametrize("outcome", ["sent", "delivered", "rate_limited", "opted_out", "unconfirmed", "cancelled"])
def test_an_sms_that_was_done_with_may_be_sent_once_more(outcome: str) -> None:
    again = decide_rerun(request(attempts=2, redrives=1), outcome, now_ms=NOW_MS, options=options())
    assert isinstance(again, RedriveRecord)
    assert msgspec.json.decode(again.value, type=m.SmsRequest) == request(attempts=0, redrives=2)


@pytest.mark.parametrize(
    ("past", "reason", "forcible"),
    [
        ((request(), "dead"), Reason.DEAD, False),
        ((request(), None), Reason.UNDER_WAY, True),
        ((request(), "retry_scheduled"), Reason.UNDER_WAY, True),
        ((request(requested_at_ms=NOW_MS - 25 * HOUR_MS), "sent"), Reason.STALE, True),
        ((request(redrives=5), "sent"), Reason.LOOP, True),
    ],
)
def test_a_rerun_is_refused_for_a_reason_that_is_named(
    past: tuple[m.SmsRequest, str | None], reason: Reason, *, forcible: bool
) -> None:
    refusal = refused(decide_rerun(*past, now_ms=NOW_MS, options=options()))
    assert (refusal.reason, refusal.forcible) == (reason, forcible)
    forced = decide_rerun(*past, now_ms=NOW_MS, options=options(force=True))
    assert isinstance(forced, RedriveRecord) == forcible


@given(partition=st.integers(0, 99_999), offset=st.integers(0, 10**18 - 1))
def test_the_name_of_a_letter_leads_back_to_it(partition: int, offset: int) -> None:
    for topic in DEAD_LETTER_TOPICS:
        place = DeadLetterId(topic.name, partition, offset)
        assert DeadLetterId.parse(str(place)) == place


@pytest.mark.parametrize(
    "text", ["", "sms-dlq", "sms-dlq/0", "alerts/0/1", "sms-dlq/0/-1", "sms-dlq/0/1/2", "sms-dlq/٣/1"]
)
def test_what_names_no_letter_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="write TOPIC/PARTITION/OFFSET"):
        DeadLetterId.parse(text)


def test_every_letter_of_every_dead_letter_topic_is_registered_and_read_back() -> None:
    carried = {(topic.name, kind) for topic in DEAD_LETTER_TOPICS for kind in message_types(topic)}
    assert carried == {(kind.topic.name, kind.carries) for kind in KINDS}
    for dead in (letter(), email_letter(), digest_letter(), dead_reading(b"{}")):
        found = read(m.encode(dead))
        assert found == dead
        assert kind_of(found).name in NAMES
        assert topic_of_redrive(found) is None or topic_of_redrive(found) in REDRIVE_TOPICS


def topic_of_redrive(of: Any) -> Any:
    decision = judged(of, force=True)
    return decision.topic if isinstance(decision, RedriveRecord) else None


def test_an_unreadable_record_counts_to_the_topic_that_it_lies_in() -> None:
    dead = m.UnreadableRecord(topic="x", partition=0, offset=1, at_ms=NOW_MS, detail="y")
    assert [kind_of(dead, topic).name for topic in ("sms-dlq", "email-dlq")] == ["sms", "email"]


def test_no_number_and_no_address_is_shown() -> None:
    shown = masked_text(
        "40310: +12025550123 (12025550124) of ann.lee@example.com; id 5b1f2c1e-58f6-5a54-9b0a-123456789012"
    )
    assert "+12025550123" not in shown
    assert "12025550124" not in shown
    assert "ann.lee" not in shown
    assert "5b1f2c1e-58f6-5a54-9b0a-123456789012" in shown


@given(st.binary(max_size=200))
def test_whatever_lies_there_is_a_letter_or_none(value: bytes) -> None:
    found = read(value)
    assert found is None or kind_of(found) in KINDS
