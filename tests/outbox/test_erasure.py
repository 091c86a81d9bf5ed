"""Nothing of an erased person is left: not in a row, not in a message, not in the audit trail; the records stay."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Text, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from database.audit import AuditEntryRow, ErasureRow
from database.configuration import (
    ApiKeyRow,
    ContactRow,
    DigestPreferenceRow,
    EscalationStepRow,
    OptOutRow,
    OrganizationRow,
)
from database.notifications import EmailLogRow, SmsAlertLogRow, SmsRequestRow
from database.personal import DOCUMENTS, MESSAGES, OWN, RECORDS, TRAIL, person_of, records_of
from database.queues import IdempotencyKeyRow
from database.records import AlertRow, AlertTimelineRow, DigestLedgerRow, JobFailureRow
from database.sessions import SignInLinkRow, WebSessionRow
from database.tenancy import UNOWNED, owned, rows_of
from database.upgrade import metadata
from outbox import configuration
from outbox.erasure import PURGED_WITHIN, erase_person, new_receipt
from outbox.organization_erasure import erase_organization
from outbox.writer import publish_contacts
from schemas import messages as m
from tests.domain.redrive.letters import letter, request

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
USER = "u-4711"
NAME, NUMBER, ADDRESS = "Zoë Quill", "+12025550147", "zoe.quill@example.com"
FORMER_NUMBER = "+12025550146"


@pytest.fixture
async def furnished(database: AsyncEngine) -> AsyncEngine:
    """Zoë in every place where a person can stand, and Bo, who stays."""
    async with AsyncSession(database) as session, session.begin():
        session.add(OrganizationRow(organization_id="acme", name="Acme", fallback_user_id=USER))
        await session.flush()
        session.add(
            ContactRow(user_id=USER, organization_id="acme", name=NAME, phone_e164=FORMER_NUMBER, email=ADDRESS)
        )
        session.add(ContactRow(user_id="bo", organization_id="acme", name="Bo", phone_e164="+12025550148"))
        session.add(OptOutRow(phone_e164=NUMBER, via="sms", opted_out_at=NOW))
        await session.flush()
        session.add(EscalationStepRow(user_id=USER, organization_id="acme", level=1))
        session.add(DigestPreferenceRow(user_id=USER, organization_id="acme", cadences=["daily"], timezone="UTC"))
        session.add_all(_keys())
        session.add(WebSessionRow(token_sha256=b"t", user_id=USER, seen_at=NOW, expires_at=NOW))
        session.add(SignInLinkRow(token_sha256=b"t", user_id=USER, expires_at=NOW))
        session.add_all(_records())
        await session.execute(update(ContactRow).where(ContactRow.user_id == USER).values(phone_e164=NUMBER))
        await publish_contacts(session, [USER, "bo"])
    return database


def _keys() -> list[ApiKeyRow]:
    return [
        ApiKeyRow(
            key_id="k1",
            organization_id="acme",
            role="member",
            name=f"Phone of {NAME}",
            user_id=USER,
            secret_sha256=b"s" * 32,
            created_by=USER,
        )
    ]


def _records() -> list[Any]:
    known = {"organization_id": "acme", "user_id": USER}
    note = f"{NAME} says: call {NUMBER}"
    sms = request(user_id=USER, text=f"Fridge is warm. {note}")
    place = {"source_topic": "t", "source_partition": 0}
    return [
        AlertRow(
            alert_id="a1",
            unit_id="fridge",
            organization_id="acme",
            rule_id="high",
            kind="temperature_high",
            severity="critical",
            started_at=NOW,
            triggered_at=NOW,
            acknowledged_at=NOW,
            acknowledged_by=USER,
            acknowledgement_note=note,
        ),
        AlertTimelineRow(alert_id="a1", at=NOW, event="acknowledged", detail={"note": note, "user_id": USER}, **known),
        SmsAlertLogRow(
            request_id="s1",
            alert_id="a1",
            kind="temperature_high",
            severity="critical",
            outcome="failed",
            attempt=1,
            at=NOW,
            error=f"{NUMBER} is not reachable",
            **known,
        ),
        SmsRequestRow(
            request_id="s1",
            alert_id="a1",
            requested_at=NOW,
            level=1,
            text=sms.text,
            redrives=0,
            payload=m.encode(sms),
            **known,
        ),
        EmailLogRow(
            request_id="d1",
            cadence="daily",
            outcome="failed",
            attempt=1,
            at=NOW,
            error=f"550 <{ADDRESS}> unknown",
            source_offset=1,
            **place,
            **known,
        ),
        DigestLedgerRow(
            digest_id="d1",
            cadence="daily",
            timezone="UTC",
            period_starts_at=NOW,
            period_ends_at=NOW,
            status="failed",
            changed_at=NOW,
            error=f"{ADDRESS} is no address",
            **known,
        ),
        JobFailureRow(
            lane="sms-critical",
            reason="fatal",
            error=f"{NUMBER} is not reachable",
            failed_at=NOW,
            settled_at=NOW,
            settled_by=USER,
            payload=m.encode(letter(user_id=USER, text=f"Ask {NAME}")),
            source_offset=2,
            **place,
            **known,
        ),
        IdempotencyKeyRow(
            key_id="k",
            idempotency_key="i",
            request_sha256=b"",
            status=201,
            headers="{}",
            body=f'{{"phone_e164":"{NUMBER}"}}'.encode(),
        ),
    ]


async def erase(database: AsyncEngine, user_id: str = USER) -> ErasureRow | None:
    async with AsyncSession(database, expire_on_commit=False) as session, session.begin():
        return await erase_person(session, "acme", user_id, by="key:1", now=NOW)


async def everything(database: AsyncEngine, *, without: frozenset[str] = frozenset()) -> str:
    """Every row of every table as text; what is binary, decoded."""
    found = []
    async with database.connect() as connection:
        for name, table in metadata().tables.items():
            if name in without:
                continue
            columns = ", ".join(
                f"encode({column.name}, 'escape')" if str(column.type) == "BYTEA" else f"CAST({column.name} AS text)"
                for column in table.columns
            )
            found += [
                f"{name}: {tuple(row)}" for row in await connection.execute(text(f"SELECT {columns} FROM {name}"))
            ]
    return "\n".join(found)


async def test_name_numbers_and_address_are_in_no_row_of_any_table(furnished: AsyncEngine) -> None:
    before = await everything(furnished)
    assert all(before.count(value) > 2 for value in (NUMBER, ADDRESS, "Quill"))

    assert await erase(furnished) is not None

    after = await everything(furnished)
    assert [value for value in (NUMBER, FORMER_NUMBER, ADDRESS, "Quill") if value in after] == []


async def test_the_user_id_is_left_in_the_audit_trail_only_and_in_tombstones(furnished: AsyncEngine) -> None:
    await erase(furnished)
    assert USER not in await everything(furnished, without=frozenset({"audit_trail", "outbox"}))
    async with AsyncSession(furnished) as session:
        rows = await session.execute(text("SELECT value FROM outbox WHERE key = :user"), {"user": USER})
        assert {row[0] for row in rows} == {None}


async def test_the_records_stay_under_the_pseudonym(furnished: AsyncEngine) -> None:
    receipt = await erase(furnished)
    assert receipt is not None
    async with AsyncSession(furnished) as session:
        alert = (await session.scalars(select(AlertRow))).one()
        failure = (await session.scalars(select(JobFailureRow))).one()
    assert (alert.acknowledged_at, alert.acknowledged_by) == (NOW, receipt.pseudonym)
    assert alert.acknowledgement_note == "(erased) says: call (erased)"
    assert receipt.pseudonym.encode() in (failure.payload or b"")


async def test_others_keep_everything(furnished: AsyncEngine) -> None:
    await erase(furnished)
    async with AsyncSession(furnished) as session:
        assert [row.name for row in await session.scalars(select(ContactRow))] == ["Bo"]
        entry = select(AuditEntryRow.subject_id).where(AuditEntryRow.action == "contact.created")
        assert set(await session.scalars(entry)) == {USER, "bo"}
    assert "+12025550148" in await everything(furnished)


async def test_the_receipt_tells_what_was_done_and_not_to_whom(furnished: AsyncEngine) -> None:
    receipt = await erase(furnished)
    assert receipt is not None
    assert receipt.complete_by_at == NOW + PURGED_WITHIN
    assert receipt.counts["alerts"] == 2
    assert receipt.counts["users"] == 1
    assert USER not in str(vars(receipt))


async def test_a_repeated_erasure_takes_what_came_meanwhile_and_gives_the_same_receipt(furnished: AsyncEngine) -> None:
    first = await erase(furnished)
    async with AsyncSession(furnished) as session, session.begin():
        session.add(AlertTimelineRow(alert_id="a1", organization_id="acme", at=NOW, event="x", user_id=USER, detail={}))
    again = await erase(furnished)
    assert first is not None
    assert again is not None
    assert (again.receipt_id, again.pseudonym) == (first.receipt_id, first.pseudonym)
    assert USER not in await everything(furnished, without=frozenset({"audit_trail", "outbox"}))


async def test_of_somebody_unknown_or_of_another_organization_nothing_is_erased(furnished: AsyncEngine) -> None:
    before = await everything(furnished)
    assert await erase(furnished, "nobody") is None
    async with AsyncSession(furnished) as session, session.begin():
        assert await erase_person(session, "other", USER, by="key:1", now=NOW) is None
    assert await everything(furnished) == before


async def test_whoever_adds_the_number_again_still_must_not_text_it(furnished: AsyncEngine) -> None:
    await erase(furnished)
    async with AsyncSession(furnished) as session, session.begin():
        session.add(ContactRow(user_id="new", organization_id="acme", name="New", phone_e164=NUMBER))
        await session.flush()
        assert (await configuration.contacts(session, ["new"]))["new"].sms_opted_out


async def test_an_export_has_every_row_of_the_person_and_no_secret(furnished: AsyncEngine) -> None:
    async with AsyncSession(furnished) as session:
        person = await person_of(session, "acme", USER)
        assert person is not None
        tables = await records_of(session, person)
    assert {name for name, rows in tables.items() if not rows} <= {"audit_trail", "erasures"}
    assert tables["users"][0]["phone_e164"] == NUMBER
    assert tables["opt_outs"][0]["via"] == "sms"
    assert FORMER_NUMBER in str(tables["audit_personal"])
    assert "secret_sha256" not in tables["api_keys"][0]
    assert "+12025550148" not in str(tables)


def test_every_column_that_names_a_user_is_known_to_exports_and_erasures() -> None:
    known = {(place.table, place.column) for place in (*OWN, *RECORDS, *TRAIL)}
    named = {
        (table.name, column.name)
        for table in metadata().tables.values()
        for column in table.columns
        if isinstance(column.type, Text) and column.name.endswith(("user_id", "ed_by"))
    }
    # The name of a key's maker, which stays in the audit trail, and a person whom an erasure unsets.
    assert named - known == {
        ("api_keys", "created_by"),
        ("organizations", "fallback_user_id"),
    }


def test_every_message_and_document_in_a_table_is_searched() -> None:
    known = {(place.table, place.column) for place in (*DOCUMENTS, *MESSAGES)}
    held = {
        (table.name, column.name)
        for table in metadata().tables.values()
        for column in table.columns
        if column.name in {"payload", "detail"}
    }
    assert held == known


async def test_every_table_belongs_to_organizations_or_to_nobody() -> None:
    assert owned().keys() | UNOWNED == set(metadata().tables)


async def test_of_an_organization_only_the_trail_without_names_and_the_receipts_stay(furnished: AsyncEngine) -> None:
    async with AsyncSession(furnished) as session, session.begin():
        session.add(OrganizationRow(organization_id="other", name="Other"))
        await session.flush()
        session.add(ContactRow(user_id="eve", organization_id="other", name="Eve", phone_e164="+12025550149"))
    async with AsyncSession(furnished) as session, session.begin():
        counts = await erase_organization(session, "acme", by="command", now=NOW)
    assert (counts["organizations"], counts["users"], counts["alerts"]) == (1, 2, 1)

    after = await everything(furnished, without=frozenset({"audit_trail", "erasures", "outbox", "idempotency_keys"}))
    assert [value for value in ("acme", USER, "Quill", NUMBER, ADDRESS, "+12025550148") if value in after] == []
    assert "Quill" not in await everything(furnished)
    assert "+12025550149" in after
    async with AsyncSession(furnished) as session:
        waiting = await session.execute(
            text("SELECT DISTINCT ON (topic, key) topic, key, value FROM outbox ORDER BY topic, key, sequence DESC")
        )
        newest = {(row.topic, row.key): row.value for row in waiting}
    assert {key for key, value in newest.items() if value is None} == {
        ("organizations", "acme"),
        *((topic, user) for topic in ("contacts", "digest-preferences") for user in (USER, "bo")),
    }
    async with AsyncSession(furnished) as session, session.begin():
        assert await erase_organization(session, "acme", by="command", now=NOW) == {}


async def test_the_export_of_an_organization_has_its_rows_and_no_others(furnished: AsyncEngine) -> None:
    async with AsyncSession(furnished) as session, session.begin():
        session.add(OrganizationRow(organization_id="other", name="Other"))
    async with AsyncSession(furnished) as session:
        found = [(table, row) async for table, row in rows_of(session, "acme")]
    assert {"organizations", "users", "alerts", "audit_trail", "audit_personal", "sms_requests"} <= {
        t for t, _ in found
    }
    assert not [row for table, row in found if table == "organizations" and row["organization_id"] != "acme"]
    assert "7373" not in str(found)  # the digest of the key's secret, in hexadecimal


async def test_the_person_is_gone_from_lists_of_a_timeline_and_others_stay(furnished: AsyncEngine) -> None:
    detail = {"users": f"bo, {USER}, {USER}0", "not_asked": f"{USER} (off_duty), x{USER} (severity), {USER} (severity)"}
    async with AsyncSession(furnished) as session, session.begin():
        row = AlertTimelineRow(alert_id="a1", organization_id="acme", at=NOW, event="x", detail=detail)
        session.add(row)
        await session.flush()
        receipt = await erase_person(session, "acme", USER, by="key:k", now=NOW)
        assert receipt is not None
        await session.refresh(row)
        gone = receipt.pseudonym
        assert row.detail == {
            "users": f"bo, {gone}, {USER}0",
            "not_asked": f"{gone} (off_duty), x{USER} (severity), {gone} (severity)",
        }


async def test_an_erasure_from_before_ids_were_qualified_gives_its_receipt_still(furnished: AsyncEngine) -> None:
    async with AsyncSession(furnished) as session, session.begin():
        receipt = new_receipt("acme", "ann", by="key:k", now=NOW)
        session.add(receipt)
        await session.flush()
        again = await erase_person(session, "acme", "acme/ann", by="key:k", now=NOW)
        assert again is receipt
        assert await erase_person(session, "other", "other/ann", by="key:k", now=NOW) is None
