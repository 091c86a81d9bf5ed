"""`erase` and `export`: what the law asks for about a person or an organization, where the database is."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.db import with_engine

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

User = Annotated[str | None, typer.Argument(metavar="[USER]", help="the id of the contact; without one, everything")]
Organization = Annotated[str, typer.Option(help="the organization's id")]


def erase(
    organization: Organization,
    user: User = None,
    yes: Annotated[bool, typer.Option("--yes", help="do it; it cannot be undone")] = False,
) -> None:
    """Erase a person, or without USER a whole organization, from tables and topics; prints a receipt.

    Records keep a pseudonym in the place of the user id. Run it again for what was under way; the receipt is the same.
    """
    whom = f"the contact {user} of {organization}" if user else f"the organization {organization} with all its records"
    if not yes:
        typer.echo(f"This would erase {whom}, for good. Nothing was done; add --yes to do it.")
        raise typer.Exit(1)
    receipt = with_engine(lambda engine: _erased(engine, organization, user))
    if receipt is None:
        typer.secho(f"Nothing is known of {whom}.", fg="red", err=True)
        raise typer.Exit(1)
    typer.echo(json.dumps(receipt, indent=2))


async def _erased(engine: AsyncEngine, organization: str, user: str | None) -> dict[str, Any] | None:
    from sqlalchemy.ext.asyncio import AsyncSession

    from outbox.erasure import erase_person
    from outbox.organization_erasure import erase_organization
    from schemas.http.erasures import ErasureReceipt
    from schemas.identity import qualified

    now = datetime.now(UTC)
    async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
        if user is None:
            counts = await erase_organization(session, organization, by="command", now=now)
            return {"organization_id": organization, "erased_at": now.isoformat(), "counts": counts} if counts else None
        receipt = await erase_person(session, organization, qualified(organization, user), by="command", now=now)
        return None if receipt is None else ErasureReceipt.model_validate(receipt).model_dump(mode="json")


def export(organization: Organization, user: User = None) -> None:
    """Print everything about a person, or without USER about an organization, one JSON object a row; no secrets."""
    if not with_engine(lambda engine: _printed(engine, organization, user)):
        typer.secho(f"Nothing is known of {user or organization}.", fg="red", err=True)
        raise typer.Exit(1)


async def _printed(engine: AsyncEngine, organization: str, user: str | None) -> int:
    from sqlalchemy.ext.asyncio import AsyncSession

    from database.personal import person_of, records_of
    from database.tenancy import rows_of
    from schemas.identity import qualified

    rows = 0
    async with AsyncSession(engine) as session:
        if user is None:
            async for table, row in rows_of(session, organization):
                _print(table, row)
                rows += 1
            return rows
        person = await person_of(session, organization, qualified(organization, user))
        for table, found in (await records_of(session, person) if person else {}).items():
            for row in found:
                _print(table, row)
                rows += 1
    return rows


def _print(table: str, row: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"table": table, "row": row}, ensure_ascii=False) + "\n")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(rich_help_panel="Operations")(erase)
    app.command(rich_help_panel="Operations")(export)
