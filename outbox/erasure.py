"""Erases a person: rows, the messages about them, and what is known of them in the audit trail.

All of an erasure is one transaction: rows and tombstones change together, and a repeated erasure finds nobody.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, text, update

from database.audit import AuditPersonalRow, ErasureRow
from database.configuration import ApiKeyRow, ContactRow, OrganizationRow
from database.personal import Person, forget_answers, person_of, pseudonymize
from database.queues import OutboxRow
from outbox.writer import TOMBSTONE, publish_contacts, publish_digest_preferences, publish_organizations
from schemas.identity import plain
from schemas.topic import MAX_COMPACTION_LAG_MS
from schemas.topics import CONTACTS, DIGEST_PREFERENCES

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

# The tombstone's segment closes a lag after its first record, at the first record behind that: the relay writes one a
# day (`compaction`). The third day is for the broker's cleaner.
PURGED_WITHIN = timedelta(milliseconds=MAX_COMPACTION_LAG_MS) + timedelta(days=2)


async def erase_person(
    session: AsyncSession, organization_id: str, user_id: str, *, by: str, now: datetime
) -> ErasureRow | None:
    """Erase a contact, or one who was deleted earlier; the receipt, or None where nothing is known of such a user."""
    # The free text of years is searched; a request of the API has a time limit of its own.
    await session.execute(text("SET LOCAL statement_timeout = 0"))
    # Whoever writes the contact meanwhile waits; what commits before is erased with the rest.
    contact = await session.scalar(
        select(ContactRow)
        .where(ContactRow.user_id == user_id, ContactRow.organization_id == organization_id)
        .with_for_update()
    )
    person = await person_of(session, organization_id, user_id)
    receipt = await receipt_of(session, organization_id, user_id)
    if person is None:
        # Receipts from before ids were qualified know the plain one; a person of today gets one of their own.
        receipt = receipt or await receipt_of(session, organization_id, plain(user_id))
        if receipt is None:
            return None
        # What was under way at the time of the erasure and was recorded since.
        person = Person(organization_id, user_id, frozenset(), frozenset(), frozenset())
    if receipt is None:
        receipt = new_receipt(organization_id, user_id, by=by, now=now)
        session.add(receipt)
        await session.flush()
    await hash_opt_outs(session, person.numbers, of=[user_id])
    keys = await session.execute(delete(ApiKeyRow).where(ApiKeyRow.user_id == user_id))
    await _nobodys_fallback(session, user_id)
    if contact is not None:
        await session.delete(contact)
        await session.flush()
    counts = await pseudonymize(session, person, receipt.pseudonym)
    # Answers have the plain id.
    named = [*person.numbers, *person.addresses, f'"{plain(user_id)}"']
    counts["idempotency_keys"] = await forget_answers(session, organization_id, named)
    personal = await session.execute(delete(AuditPersonalRow).where(AuditPersonalRow.user_id == user_id))
    counts |= {"audit_personal": _rows(personal), "api_keys": _rows(keys), "users": int(contact is not None)}
    receipt.counts = {table: rows + receipt.counts.get(table, 0) for table, rows in counts.items()}
    await _publish_tombstones(session, user_id)
    return receipt


def _rows(result: object) -> int:
    return int(getattr(result, "rowcount", 0))


async def _publish_tombstones(session: AsyncSession, user_id: str) -> None:
    """What the relay has not sent yet is emptied, and a tombstone follows it."""
    topics = [CONTACTS.name, DIGEST_PREFERENCES.name]
    waiting = update(OutboxRow).where(OutboxRow.topic.in_(topics), OutboxRow.key == user_id)
    await session.execute(waiting.values(value=None, type=TOMBSTONE))
    await publish_contacts(session, [user_id])
    await publish_digest_preferences(session, [user_id])


async def _nobodys_fallback(session: AsyncSession, user_id: str) -> None:
    """The organization must name somebody else for when nobody is left."""
    named = update(OrganizationRow).where(OrganizationRow.fallback_user_id == user_id).values(fallback_user_id=None)
    changed = list(await session.scalars(named.returning(OrganizationRow.organization_id)))
    if changed:
        await publish_organizations(session, changed)


async def hash_opt_outs(session: AsyncSession, numbers: Collection[str], *, of: Collection[str]) -> None:
    """A STOP outlives its owner: whoever adds the number again must not text it. Only its digest is kept for that.

    A number that also somebody other than the users `of` has stays as it is.
    """
    shared = select(ContactRow.phone_e164).where(
        ContactRow.phone_e164.in_(numbers), ContactRow.user_id.not_in(list(of))
    )
    others = set(await session.scalars(shared))
    await session.execute(
        text(
            "WITH gone AS (DELETE FROM opt_outs WHERE phone_e164 = ANY(:numbers) RETURNING *)"
            " INSERT INTO opt_outs (phone_e164, via, opted_out_at, opted_in_at)"
            " SELECT freshtrack_hashed(phone_e164), via, opted_out_at, opted_in_at FROM gone ON CONFLICT (phone_e164)"
            " DO UPDATE SET opted_out_at = greatest(opt_outs.opted_out_at, excluded.opted_out_at),"
            " opted_in_at = greatest(opt_outs.opted_in_at, excluded.opted_in_at)"
        ),
        {"numbers": sorted(set(numbers) - others)},
    )


def new_receipt(organization_id: str, user_id: str, *, by: str, now: datetime) -> ErasureRow:
    """Allows the database to delete the person's part of the audit trail."""
    return ErasureRow(
        receipt_id=str(uuid.uuid4()),
        organization_id=organization_id,
        user_sha256=hashlib.sha256(user_id.encode()).digest(),
        pseudonym=f"erased-{secrets.token_hex(8)}",
        erased_by=by,
        erased_at=now,
        complete_by_at=now + PURGED_WITHIN,
        counts={},
    )


async def receipt_of(session: AsyncSession, organization_id: str, user_id: str) -> ErasureRow | None:
    """The receipt of an earlier erasure."""
    wanted = select(ErasureRow).where(
        ErasureRow.organization_id == organization_id,
        ErasureRow.user_sha256 == hashlib.sha256(user_id.encode()).digest(),
    )
    return (await session.scalars(wanted)).first()
