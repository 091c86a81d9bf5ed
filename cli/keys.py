"""`key`: API keys, made and revoked where the database is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cli.db import with_engine
from schemas.roles import Role

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

commands = typer.Typer(no_args_is_help=True, help="API keys.")


@commands.command()
def create(
    role: Annotated[Role, typer.Option(help="what the key may do")],
    name: Annotated[str, typer.Option(help="what or whom the key is for")],
    organization: Annotated[str | None, typer.Option(help="its id; without one an admin's key is for all")] = None,
    organization_name: Annotated[str | None, typer.Option(help="makes the organization if it is missing")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="the key ends after so many days")] = None,
) -> None:
    """Make a key and print it, the only time that it is shown."""
    if organization is None and role is not Role.ADMIN:
        raise typer.BadParameter(f"a key with the role {role} needs --organization")

    async def work(engine: AsyncEngine) -> str | None:
        from sqlalchemy.ext.asyncio import AsyncSession

        from api.authentication import make_key
        from database.configuration import ApiKeyRow, OrganizationRow

        made = make_key()
        async with AsyncSession(engine) as session, session.begin():
            if organization is not None and await session.get(OrganizationRow, organization) is None:
                if organization_name is None:
                    return None
                session.add(OrganizationRow(organization_id=organization, name=organization_name))
                await session.flush()
            session.add(
                ApiKeyRow(
                    key_id=made.key_id,
                    organization_id=organization,
                    role=role,
                    name=name,
                    secret_sha256=made.secret_sha256,
                    expires_at=None if days is None else datetime.now(UTC) + timedelta(days=days),
                )
            )
        return made.key

    key = with_engine(work)
    if key is None:
        message = f"There is no organization {organization}; add --organization-name NAME to make it."
        typer.secho(message, fg="red", err=True)
        raise typer.Exit(1)
    typer.echo(key)


@commands.command("list")
def list_keys(organization: Annotated[str | None, typer.Option(help="only its keys")] = None) -> None:
    """Show keys without their secrets."""

    async def work(engine: AsyncEngine) -> list[str]:
        from sqlalchemy import select
        from sqlalchemy.ext.asyncio import AsyncSession

        from database.configuration import ApiKeyRow

        wanted = select(ApiKeyRow).order_by(ApiKeyRow.organization_id, ApiKeyRow.created_at)
        if organization is not None:
            wanted = wanted.where(ApiKeyRow.organization_id == organization)
        async with AsyncSession(engine) as session:
            return [
                f"{row.key_id}  {row.organization_id or '(all)':20} {row.role:8} {row.name}"
                f"{'  revoked' if row.revoked_at else ''}{f'  until {row.expires_at:%F}' if row.expires_at else ''}"
                for row in await session.scalars(wanted)
            ]

    for line in with_engine(work):
        typer.echo(line)


@commands.command()
def revoke(key_id: str) -> None:
    """End a key; running processes refuse it within seconds."""

    async def work(engine: AsyncEngine) -> bool:
        from sqlalchemy import update

        from database.configuration import ApiKeyRow

        end = update(ApiKeyRow).where(ApiKeyRow.key_id == key_id, ApiKeyRow.revoked_at.is_(None))
        async with engine.begin() as connection:
            return (await connection.execute(end.values(revoked_at=datetime.now(UTC)))).rowcount == 1

    if not with_engine(work):
        typer.secho(f"There is no active key {key_id}.", fg="red", err=True)
        raise typer.Exit(1)
    typer.echo(f"revoked {key_id}")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(commands, name="key", rich_help_panel="Operations")
