"""The recorder's flows on a real PostgreSQL: what follows from each record."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from schemas import messages as m
from schemas import topics as t
from streams.engine.quarantine import Quarantine
from streams.engine.recent_failures import RecentFailures
from tests.streams.planted import planted
from tests.streams.recorder.records import (
    NOW_MS,
    FakeBatch,
    World,
    acknowledge,
    bucket,
    dead_sms,
    escalated,
    identified,
    outcome,
    records_of,
    resolved,
    settlement,
    triggered,
)

if TYPE_CHECKING:
    from pathlib import Path

    from streams.engine.consumer import Batch

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def test_the_life_of_an_alert_is_one_row_and_its_timeline(world: World) -> None:
    await world.take(t.ALERTS, triggered(), escalated(), resolved())
    assert await world.rows(
        "SELECT severity, resolved_because, extreme_c, temperature_c, paging, acknowledged_at FROM alerts"
    ) == [("critical", "recovered", 11.0, 9.5, True, None)]
    assert await world.rows("SELECT event, source_offset FROM alert_timeline ORDER BY at") == [
        ("triggered", 0),
        ("severity_escalated", 1),
        ("resolved", 2),
    ]
    assert await world.value("SELECT round(extract(epoch FROM triggered_at) * 1000) FROM alerts") == NOW_MS
    assert await world.value("SELECT detail FROM alert_timeline WHERE event = 'triggered'") == {
        "severity": "warning",
        "temperature_c": "9.5",
        "limit_c": "8",
    }


async def test_an_alert_event_that_detection_published_twice_is_one_step(world: World) -> None:
    again = records_of(t.ALERTS, triggered(), escalated(), resolved(), triggered(), escalated(), resolved())
    records = identified(again)
    await world.record(records[:4])
    await world.record(records[4:])
    assert await world.rows("SELECT event FROM alert_timeline ORDER BY at, entry_id") == [
        ("triggered",),
        ("severity_escalated",),
        ("resolved",),
    ]
    assert await world.value("SELECT resolved_at IS NOT NULL FROM alerts")


async def test_a_silent_alert_pages_once_it_is_escalated(world: World) -> None:
    await world.take(t.ALERTS, triggered(paging=False, silent_because="maintenance"))
    assert await world.rows("SELECT paging, silent_because FROM alerts") == [(False, "maintenance")]
    await world.take(t.ALERTS, escalated(), first=1)
    assert await world.rows("SELECT paging, silent_because FROM alerts") == [(True, None)]


async def test_an_acknowledgement_by_sms_is_set_on_the_alert_and_the_first_one_stays(world: World) -> None:
    await world.take(t.ALERTS, triggered())
    await world.take(t.ALERT_COMMANDS, acknowledge(), acknowledge(user_id="ben", at_ms=NOW_MS + 9_000))
    assert await world.rows("SELECT acknowledged_by, acknowledged_via FROM alerts") == [("ada", "sms")]
    assert await world.value("SELECT count(*) FROM alert_timeline WHERE event = 'acknowledged'") == 2


async def test_an_acknowledgement_that_is_recorded_before_its_alert_is_not_lost(world: World) -> None:
    await world.take(t.ALERT_COMMANDS, acknowledge())
    await world.take(t.ALERTS, triggered())
    assert await world.rows("SELECT acknowledged_by, acknowledged_via FROM alerts") == [("ada", "sms")]


async def test_an_acknowledgement_that_lapsed_is_taken_back_and_the_next_one_counts(world: World) -> None:
    base = {"alert_id": "a1", "unit_id": "u1", "organization_id": "acme", "level": 1, "at_ms": NOW_MS + 14_400_000}
    stepped = msgspec.convert(base | {"user_ids": ("ada",)}, m.EscalationStepped)
    await world.take(t.ALERTS, triggered())
    await world.take(t.ALERT_COMMANDS, acknowledge())
    await world.take(t.ESCALATIONS, stepped)
    assert await world.rows("SELECT acknowledged_at, acknowledged_by, acknowledged_via FROM alerts") == [(None,) * 3]
    # What lapsed is not set again, in whatever order the topics are read.
    await world.take(t.ALERTS, triggered(), first=1)
    assert await world.value("SELECT acknowledged_by FROM alerts") is None
    await world.take(t.ALERT_COMMANDS, acknowledge(user_id="ben", at_ms=NOW_MS + 14_500_000), first=1)
    assert await world.value("SELECT acknowledged_by FROM alerts") == "ben"


@pytest.mark.parametrize("event", ["escalation_stepped", "fallback_asked"])
async def test_a_step_that_was_under_way_takes_no_acknowledgement_back(world: World, event: str) -> None:
    base = {"type": event, "alert_id": "a1", "unit_id": "u1", "organization_id": "acme", "level": 2}
    fields = {"at_ms": NOW_MS + 30_000, "user_ids": ("ada",), "user_id": "boss", "because": "chain_ended"}
    await world.take(t.ALERTS, triggered())
    await world.take(t.ALERT_COMMANDS, acknowledge())
    await world.take(t.ESCALATIONS, msgspec.convert(base | fields, m.Escalation))
    assert await world.value("SELECT acknowledged_by FROM alerts") == "ada"


async def test_an_order_that_the_api_wrote_itself_is_not_entered_again(world: World) -> None:
    async with world.engine.begin() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO alert_timeline (alert_id, organization_id, at, event, user_id, detail)"
            " VALUES ('a1', 'acme', to_timestamp($1 / 1000.0::float8), 'acknowledged', 'ada', '{\"via\": \"api\"}')",
            (NOW_MS + 5_000,),
        )
    notify = m.NotifyNow(alert_id="a1", unit_id="u1", organization_id="acme", user_id="ada", at_ms=NOW_MS)
    await world.record(identified(records_of(t.ALERT_COMMANDS, acknowledge(), notify, notify)))
    assert await world.rows("SELECT event, source_topic FROM alert_timeline ORDER BY event") == [
        ("acknowledged", None),
        ("notify_now", "alert-commands"),
    ]


async def test_steps_of_an_escalation_stand_in_the_timeline_once(world: World) -> None:
    about = {"alert_id": "a1", "unit_id": "u1", "organization_id": "acme"}
    base = {**about, "level": 2, "at_ms": NOW_MS}
    over = [{"user_id": "eve", "because": "off_duty"}, {"user_id": "joe", "because": "severity"}]
    stepped = msgspec.convert(base | {"user_ids": ("ada", "ben"), "not_asked": over}, m.EscalationStepped)
    ended = msgspec.convert(base | {"because": "nobody answered"}, m.EscalationEnded)
    heard = msgspec.convert(base | {"user_id": "ada"}, m.PageDelivered)
    records = records_of(t.ESCALATIONS, stepped, heard, ended, msgspec.structs.replace(stepped, at_ms=NOW_MS + 70))
    for record in (records[0], records[3]):
        record.headers = (("id", b"a1.2"), ("type", b"escalation_stepped"))
    records[2].headers = (("id", b"a1.2"), ("type", b"escalation_ended"))
    await world.record(records)
    assert await world.rows(
        "SELECT event, detail ->> 'users', detail ->> 'not_asked' FROM alert_timeline ORDER BY entry_id"
    ) == [
        ("escalation_stepped", "ada, ben", "eve (off_duty), joe (severity)"),
        ("escalation_ended", None, None),
    ]
    assert await world.value("SELECT next_offset FROM recorder_offsets") == 4


async def test_what_was_missed_answered_and_mailed_stands_in_the_timeline_too(world: World) -> None:
    base = {"alert_id": "a1", "unit_id": "u1", "organization_id": "acme", "level": 1, "at_ms": NOW_MS}
    missed = msgspec.convert(base | {"user_id": "ada", "because": "rate_limited"}, m.PageUndelivered)
    replied = msgspec.convert(
        base | {"user_id": "ada", "meaning": "not_understood", "text": "on my way"}, m.PageReplied
    )
    fallback = msgspec.convert(base | {"user_id": "boss", "because": "chain_ended"}, m.FallbackAsked)
    await world.take(t.ESCALATIONS, missed, replied, fallback)
    page = m.PageEmail(
        request_id="e1",
        organization_id="acme",
        user_id="ada",
        because=m.PageEmailCause.SMS_NOT_ACCEPTED,
        subject="CRITICAL",
        text="It is warm",
        alert_id="a1",
        requested_at_ms=NOW_MS,
    )
    notice = msgspec.structs.replace(page, alert_id=None)
    await world.take(t.PAGE_EMAILS, page, notice, msgspec.structs.replace(page, provider_failures=1))
    about = {name: getattr(page, name) for name in ("request_id", "organization_id", "user_id", "alert_id", "because")}
    about |= {"attempt": 1, "at_ms": NOW_MS}
    failed = msgspec.convert(about | {"error_code": "x", "error": "y", "due_at_ms": NOW_MS}, m.PageEmailFailed)
    await world.take(t.EMAIL_OUTCOMES, failed, msgspec.convert(about | {"message_id": "m"}, m.PageEmailSent))
    assert await world.rows("SELECT event, user_id, detail ->> 'because' FROM alert_timeline ORDER BY entry_id") == [
        ("page_missed", "ada", "rate_limited"),
        ("replied", "ada", None),
        ("fallback_asked", "boss", "chain_ended"),
        ("email_requested", "ada", "sms_not_accepted"),
        ("email_failed", "ada", None),
        ("email_sent", "ada", "sms_not_accepted"),
    ]


async def test_every_outcome_of_an_sms_is_a_row_of_its_log(world: World) -> None:
    outcomes = (
        outcome(m.SmsSending, attempt_id="x1"),
        outcome(m.SmsSent, provider_message_id="p1", parts=2, breach_at_ms=NOW_MS, latency_ms=40),
        outcome(m.SmsDelivered, provider_message_id="p1"),
        outcome(m.SmsFailed, error_code="40001", error="landline"),
        outcome(m.SmsRateLimited, until_at_ms=NOW_MS, by_request_id="r0"),
        outcome(m.SmsNamed, provider_message_id="p1", in_request_id="r9"),
        outcome(m.SmsRetryScheduled, due_at_ms=NOW_MS, error_code="50000"),
        outcome(m.SmsOptedOut),
        outcome(m.SmsUnknown, attempt_id="x1"),
        outcome(m.SmsUnconfirmed, provider_message_id="p1"),
        outcome(m.SmsCancelled, because="acknowledged"),
        outcome(m.SmsDead, reason="recipient", error_code="40001"),
    )
    await world.take(t.SMS_OUTCOMES, *outcomes)
    found = await world.rows(
        "SELECT outcome, coalesce(attempt_id, provider_message_id, by_request_id), error_code, error"
        " FROM sms_alert_log ORDER BY source_offset"
    )
    assert found == [
        ("sending", "x1", None, None),
        ("sent", "p1", None, None),
        ("delivered", "p1", None, None),
        ("failed", None, "40001", "landline"),
        ("rate_limited", "r0", None, None),
        ("named", "p1", None, None),
        ("retry_scheduled", None, "50000", None),
        ("opted_out", None, None, None),
        ("unknown", "x1", None, None),
        ("unconfirmed", "p1", None, None),
        ("cancelled", None, None, "acknowledged"),
        ("dead", None, "40001", "recipient"),
    ]
    assert len(found) == len(t.SMS_OUTCOMES.carries.__args__)  # type: ignore[union-attr]


async def test_a_number_that_only_the_provider_knew_opts_out_for_everybody_who_has_it(world: World) -> None:
    async with world.engine.begin() as connection:
        await connection.exec_driver_sql("INSERT INTO organizations (organization_id, name) VALUES ('acme', 'Acme')")
        await connection.exec_driver_sql(
            "INSERT INTO users (user_id, organization_id, name, phone_e164) VALUES"
            " ('ada', 'acme', 'Ada', '+12025550101'), ('eve', 'acme', 'Eve', '+12025550101'),"
            " ('ben', 'acme', 'Ben', '+12025550102'), ('joe', 'acme', 'Joe', NULL)"
        )
    stop = [outcome(m.SmsOptedOut, at_the_provider=True, user_id=user) for user in ("ada", "eve", "joe", "nobody")]
    await world.take(t.SMS_OUTCOMES, *stop, outcome(m.SmsOptedOut, user_id="ben"))
    await world.take(t.SMS_OUTCOMES, *stop, first=5)
    assert await world.rows("SELECT phone_e164, via FROM opt_outs") == [("+12025550101", "provider")]
    published = await world.rows("SELECT key, value FROM outbox WHERE topic = 'contacts' ORDER BY key")
    assert [key for key, _ in published] == ["ada", "eve"]
    assert all(msgspec.json.decode(value, type=m.Contact).sms_opted_out for _, value in published)
    assert await world.value("SELECT count(*) FROM sms_alert_log") == 9


async def people(world: World, values: str) -> None:
    async with world.engine.begin() as connection:
        await connection.exec_driver_sql("INSERT INTO organizations (organization_id, name) VALUES ('acme', 'Acme')")
        await connection.exec_driver_sql(
            f"INSERT INTO users (user_id, organization_id, name, phone_e164) VALUES {values}"
        )


async def test_an_opt_out_belongs_to_the_number_that_was_refused_not_to_the_users_present_one(world: World) -> None:
    await people(world, "('ada', 'acme', 'Ada', '+12025550109'), ('new', 'acme', 'New', '+12025550101')")
    refused = outcome(m.SmsOptedOut, at_the_provider=True, number_told=True, user_id="ada")
    stop = m.InboundSms(event_id="e1", phone_e164="+12025550101", occurred_at_ms=NOW_MS, text="STOP", via="provider")
    await world.take(t.SMS_OUTCOMES, refused)
    await world.take(t.SMS_INBOUND, stop)
    assert await world.rows("SELECT phone_e164 FROM opt_outs") == [("+12025550101",)]
    assert await world.rows("SELECT key FROM outbox WHERE topic = 'contacts'") == [("new",)]


async def test_dead_letters_are_job_failures_with_their_payload(world: World) -> None:
    letter = dead_sms()
    unreadable = m.UnreadableRecord(topic="sms-critical", partition=1, offset=7, at_ms=NOW_MS, detail="no JSON")
    await world.take(t.SMS_DLQ, letter, unreadable)
    found = await world.rows(
        "SELECT organization_id, user_id, lane, reason, attempts, redrives, payload FROM job_failures"
        " ORDER BY source_offset"
    )
    assert found == [
        ("acme", "ada", "sms-critical", "exhausted", 3, 1, m.encode(letter)),
        (None, None, "sms-critical", "unreadable", 0, 0, m.encode(unreadable)),
    ]


async def test_a_dead_reading_belongs_to_the_organization_of_its_unit(world: World) -> None:
    async with world.engine.begin() as connection:
        await connection.exec_driver_sql("INSERT INTO organizations (organization_id, name) VALUES ('acme', 'Acme')")
        await connection.exec_driver_sql(
            "INSERT INTO units (unit_id, organization_id, name) VALUES ('u1', 'acme', 'U')"
        )
    dead = m.DeadReading(
        reason=m.DeadLetterReason.NOT_FINITE, detail="NaN", topic="readings", partition=0, offset=1, at_ms=NOW_MS
    )
    records = records_of(t.READINGS_DLQ, dead, dead, dead)
    records[1].key, records[2].key = b"elsewhere", None
    await world.record(records)
    assert await world.rows("SELECT organization_id, lane, reason FROM job_failures ORDER BY source_offset") == [
        ("acme", "readings", "not_finite"),
        (None, "readings", "not_finite"),
        (None, "readings", "not_finite"),
    ]


async def test_a_dead_letter_that_was_published_twice_is_one_failure(world: World) -> None:
    records = records_of(t.SMS_DLQ, dead_sms(), dead_sms(), dead_sms("r2"))
    for record, id_ in zip(records, (b"r1.1", b"r1.1", b"r2.1"), strict=True):
        record.headers = (("id", id_), ("type", b"sms_dead"))
    await world.record(records)
    assert await world.rows("SELECT request_id FROM job_failures ORDER BY 1") == [("r1",), ("r2",)]


async def test_an_equal_or_higher_revision_of_a_bucket_replaces_a_lower_one_never(world: World) -> None:
    await world.take(t.UNIT_AGGREGATES, bucket(revision=1, count=1), bucket(revision=2, count=2))
    assert await world.rows("SELECT revision, count FROM unit_aggregates") == [(2, 2)]
    await world.take(t.UNIT_AGGREGATES, bucket(revision=1, count=3), first=2)
    assert await world.rows("SELECT revision, count FROM unit_aggregates") == [(2, 2)]
    await world.take(t.UNIT_AGGREGATES, bucket(revision=2, count=4), first=3)
    assert await world.rows("SELECT revision, count FROM unit_aggregates") == [(2, 4)]
    await world.take(t.UNIT_AGGREGATES, bucket(revision=3, count=5), bucket(revision=2, count=6), first=4)
    assert await world.rows("SELECT revision, count, high_c, low_c FROM unit_aggregates") == [(3, 5, 8.0, None)]


async def test_a_dead_letter_that_was_sent_again_is_settled(world: World) -> None:
    await world.take(t.SMS_DLQ, dead_sms(), dead_sms("r2"))
    await world.take(t.DEAD_LETTER_SETTLEMENTS, settlement("sms-dlq/0/1"), None, settlement("elsewhere"))
    assert await world.rows("SELECT request_id, settled_by, settled_at IS NULL FROM job_failures ORDER BY 1") == [
        ("r1", None, True),
        ("r2", "ada", False),
        (None, None, True),
    ]


async def test_an_alert_and_its_acknowledgement_that_are_written_at_once_meet(world: World) -> None:
    for number in range(30):
        await asyncio.gather(
            world.take(t.ALERTS, triggered(f"a{number}"), first=number),
            world.take(t.ALERT_COMMANDS, acknowledge(f"a{number}"), first=number),
        )
    assert await world.value("SELECT count(*) FROM alerts WHERE acknowledged_by = 'ada'") == 30


async def test_a_unit_id_that_another_organization_takes_over_begins_with_buckets_of_its_own(world: World) -> None:
    former = bucket(revision=3)
    await world.take(t.UNIT_AGGREGATES, former)
    await world.take(t.UNIT_AGGREGATES, msgspec.structs.replace(bucket(count=2), organization_id="north"), first=1)
    assert await world.rows("SELECT organization_id, revision, count FROM unit_aggregates ORDER BY 1") == [
        ("acme", 3, 15),
        ("north", 1, 2),
    ]


async def test_the_text_of_an_sms_is_kept_and_a_redrive_replaces_its_request(world: World) -> None:
    request = dead_sms().request
    again = msgspec.structs.replace(request, redrives=2)
    retried = msgspec.structs.replace(request, attempts=2)
    await world.take(t.SMS_CRITICAL, request, again, retried)
    await world.take(t.SMS_CRITICAL, retried, first=3)
    [(text, redrives, payload)] = await world.rows("SELECT text, redrives, payload FROM sms_requests")
    assert (text, redrives, t.SMS_CRITICAL.decode(payload)) == ("Fridge 1 is at 9.5 C", 2, again)


async def test_an_sms_that_another_one_named_says_which(world: World) -> None:
    limited = outcome(m.SmsRateLimited, request_id="r2", until_at_ms=NOW_MS + 1, by_request_id="r1")
    named = outcome(m.SmsNamed, request_id="r2", provider_message_id="p", in_request_id="r3")
    await world.take(t.SMS_OUTCOMES, limited, named)
    assert await world.rows("SELECT outcome, by_request_id FROM sms_alert_log ORDER BY entry_id") == [
        ("rate_limited", "r1"),
        ("named", "r3"),
    ]


async def test_a_record_on_which_our_code_fails_is_a_row_and_the_others_are_recorded(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = world.flows["alerts"]
    rows = flow._route.rows
    route = flow._route._replace(rows=planted(rows, lambda record: record.offset == 2))
    monkeypatch.setattr(flow, "_route", route)
    quarantine = Quarantine(flow.handle, flow.set_aside, RecentFailures(tmp_path / "failures.json", 3))
    records = identified(records_of(t.ALERTS, *(triggered(f"a{number}") for number in range(5))))
    for _ in range(2):
        await quarantine.handle(cast("Batch", FakeBatch(records)))
    assert await world.rows("SELECT alert_id FROM alerts ORDER BY 1") == [("a0",), ("a1",), ("a3",), ("a4",)]
    ((reason, error, payload, offset),) = await world.rows(
        "SELECT reason, error, payload, source_offset FROM job_failures"
    )
    letter = msgspec.json.decode(payload, type=m.UnreadableRecord)
    assert (reason, offset, letter.build) == ("quarantined", 2, "1.2.3")
    assert error == "PlantedError: +12*******23 and a***@example.com hit a bug, ?"
    assert await world.value("SELECT next_offset FROM recorder_offsets WHERE topic = 'alerts'") == 5
