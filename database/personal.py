"""Where a person stands in the database: what an export gathers and what an erasure replaces or deletes.

The user id stands in the records; name, number and address stand in `users`, and where people or providers wrote them
into free text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy.ext.asyncio import AsyncSession

ERASED = "(erased)"
# A regular expression that matches nowhere: a character behind the end.
_NOTHING = r"\Z."


class Place(NamedTuple):
    """A column of a table, and in which of its rows it is meant."""

    table: str
    column: str
    only: str = "true"


# Records that outlive the person: an erasure puts the pseudonym in the place of the user id.
RECORDS = (
    Place("alerts", "acknowledged_by"),
    Place("alert_timeline", "user_id"),
    Place("sms_alert_log", "user_id"),
    Place("sms_requests", "user_id"),
    Place("email_log", "user_id"),
    Place("digest_ledger", "user_id"),
    Place("job_failures", "user_id"),
    Place("job_failures", "settled_by"),
    Place("erasures", "erased_by"),
)
# What exists for the person only: an erasure deletes it.
OWN = (
    Place("users", "user_id"),
    Place("escalation_steps", "user_id"),
    Place("digest_preferences", "user_id"),
    Place("api_keys", "user_id"),
    Place("web_sessions", "user_id"),
    Place("sign_in_links", "user_id"),
)
_OF_PEOPLE = ("contact", "digest_preference", "escalation_step")
# The id stays there until the audit trail's retention ends; its personal values are deleted.
TRAIL = (
    Place("audit_trail", "actor"),
    Place("audit_trail", "subject_id", f"subject_kind IN {_OF_PEOPLE}"),
    Place("audit_personal", "user_id"),
)
# Free text, JSON and messages in which ids, names, numbers and addresses may stand.
TEXTS = (
    Place("alerts", "acknowledgement_note"),
    Place("sms_alert_log", "error"),
    Place("sms_requests", "text"),
    Place("email_log", "error"),
    Place("job_failures", "error"),
    Place("digest_ledger", "error"),
)
DOCUMENTS = (Place("alert_timeline", "detail"),)
MESSAGES = (Place("sms_requests", "payload"), Place("job_failures", "payload"))

# Columns that no export shows: digests of secrets, and messages whose fields are columns too.
HIDDEN = ("secret_sha256", "token_sha256", "payload", "content")


class Person(NamedTuple):
    """Who is meant, and every name, number and address that is known of this contact."""

    organization_id: str
    user_id: str
    names: frozenset[str]
    numbers: frozenset[str]
    addresses: frozenset[str]

    @property
    def pattern(self) -> str:
        """Matches each name as a word, each number and each address (a regular expression of PostgreSQL)."""
        if not self.names | self.numbers | self.addresses:
            return _NOTHING
        words = [rf"\m{re.escape(name)}\M" for name in self.names]
        return "|".join([*words, *(re.escape(value) for value in sorted(self.numbers | self.addresses))])


async def person_of(session: AsyncSession, organization_id: str, user_id: str) -> Person | None:
    """The contact with what is known, former values of the audit trail included; None where there is none."""
    rows = await session.execute(
        text(
            "SELECT name, phone_e164, email FROM users WHERE user_id = :user AND organization_id = :organization"
            " UNION ALL SELECT part->>'name', part->>'phone_e164', part->>'email' FROM audit_personal"
            " JOIN audit_trail USING (entry_id), LATERAL (VALUES (audit_personal.before), (audit_personal.after))"
            " AS parts(part) WHERE user_id = :user AND organization_id = :organization AND subject_kind = 'contact'"
        ),
        {"user": user_id, "organization": organization_id},
    )
    known = [tuple(row) for row in rows]
    if not known:
        return None
    names, numbers, addresses = (frozenset(filter(None, values)) for values in zip(*known, strict=True))
    return Person(organization_id, user_id, names, numbers, addresses)


async def records_of(session: AsyncSession, person: Person) -> dict[str, list[dict[str, Any]]]:
    """Every row that names the person, by table, as JSON; no secrets."""
    found: dict[str, list[dict[str, Any]]] = {}
    for place in (*OWN, *RECORDS, *TRAIL):
        rows = await session.scalars(
            text(
                f"SELECT to_jsonb(found) - CAST(:hidden AS text[]) FROM {place.table} AS found"  # noqa: S608 - constants
                f" WHERE {place.column} = :user AND {place.only}"
            ),
            {"user": person.user_id, "hidden": list(HIDDEN)},
        )
        known = found.setdefault(place.table, [])
        known += [row for row in rows if row not in known]
    rows = await session.scalars(
        text("SELECT to_jsonb(found) FROM opt_outs AS found WHERE phone_e164 = ANY(:numbers)"),
        {"numbers": sorted(person.numbers)},
    )
    found["opt_outs"] = list(rows)
    return found


async def pseudonymize(session: AsyncSession, person: Person, pseudonym: str) -> dict[str, int]:
    """Put the pseudonym where the user id stands, and `(erased)` where name, number or address do; rows by table."""
    counts: dict[str, int] = {}
    known = {
        "organization": person.organization_id,
        "user": person.user_id,
        "pseudonym": pseudonym,
        "erased": ERASED,
        "pattern": person.pattern,
        "member": rf"([\"\s]){re.escape(person.user_id)}(?=[\"\s,])",
        "instead": rf"\1{pseudonym}",
    }
    for place in RECORDS:
        await _count(session, counts, place, f"{place.column} = :pseudonym", f"{place.column} = :user", known)
    for place in TEXTS:
        erased = f"regexp_replace({place.column}, :pattern, :erased, 'g')"
        await _count(session, counts, place, f"{place.column} = {erased}", f"{place.column} ~ :pattern", known)
    for place in DOCUMENTS:
        await _rewrite(session, counts, place, f"CAST({place.column} AS text)", "CAST({} AS jsonb)", known)
    for place in MESSAGES:
        await _rewrite(session, counts, place, f"convert_from({place.column}, 'UTF8')", "convert_to({}, 'UTF8')", known)
    return counts


async def _rewrite(
    session: AsyncSession, counts: dict[str, int], place: Place, read: str, write: str, known: Mapping[str, object]
) -> None:
    """In JSON: the id where it is a whole string or a member of a list in one, the rest wherever it stands."""
    quoted = "CAST(to_json(CAST(:user AS text)) AS text)"
    renamed = f"replace({read}, {quoted}, CAST(to_json(CAST(:pseudonym AS text)) AS text))"
    unlisted = f"regexp_replace({renamed}, :member, :instead, 'g')"
    whole = write.format(f"regexp_replace({unlisted}, :pattern, :erased, 'g')")
    hit = f"(position({quoted} in {read}) > 0 OR {read} ~ :member OR {read} ~ :pattern)"
    await _count(session, counts, place, f"{place.column} = {whole}", hit, known)


async def _count(
    session: AsyncSession,
    counts: dict[str, int],
    place: Place,
    change: str,
    where: str,
    known: Mapping[str, object],
) -> None:
    used = {name: value for name, value in known.items() if f":{name}" in change + where or name == "organization"}
    # Dead letters that could not be read belong to no organization.
    owner = "coalesce(organization_id, :organization) = :organization"
    statement = text(f"UPDATE {place.table} SET {change} WHERE {owner} AND {where}")  # noqa: S608 - constants
    changed = await session.execute(statement, used)
    counts[place.table] = counts.get(place.table, 0) + int(getattr(changed, "rowcount", 0))


async def forget_answers(session: AsyncSession, organization_id: str, values: Collection[str]) -> int:
    """Delete answers kept for repeated requests that name any of these, except those of other organizations."""
    gone = await session.execute(
        text(
            "DELETE FROM idempotency_keys WHERE EXISTS (SELECT FROM unnest(CAST(:values AS text[])) AS value"
            " WHERE position(convert_to(value, 'UTF8') in body) > 0)"
            " AND key_id NOT IN (SELECT key_id FROM api_keys WHERE organization_id <> :organization)"
        ),
        {"values": list(values), "organization": organization_id},
    )
    return int(getattr(gone, "rowcount", 0))
