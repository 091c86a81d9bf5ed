"""`db`: migrations and the deletion of what is old."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from database.engine import DatabaseSettings

T = TypeVar("T")

commands = typer.Typer(no_args_is_help=True, help="The database: migrate, see where it stands, delete what is old.")


def database_settings() -> DatabaseSettings:
    """From the environment; ends the command with one sentence when the address is missing or wrong."""
    from pydantic import ValidationError

    from database.engine import DatabaseSettings as Settings

    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(
            f"{': '.join([*(f'DATABASE_{str(name).upper()}' for name in e['loc']), e['msg']])}" for e in error.errors()
        )
        typer.secho(f"{wrong}. Set DATABASE_URL to postgresql://USER:PASSWORD@HOST:5432/NAME.", fg="red", err=True)
        raise typer.Exit(2) from None


def with_engine(work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    """Run `work` on the database of the environment; ends the command with one sentence when it does not answer."""
    from database.engine import make_engine

    settings = database_settings()

    async def run() -> T:
        engine = make_engine(settings, acting=_operator())
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    try:
        return asyncio.run(run())
    except OSError as error:
        typer.secho(f"{settings.address!r} does not answer: {error}", fg="red", err=True)
        raise typer.Exit(1) from None


def _operator() -> dict[str, str]:
    """Who runs this command, for the audit trail."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a user id that has no name.
        name = f"uid {os.getuid()}"
    return {"actor": f"command of {name}", "origin": socket.gethostname()}


@commands.command()
def upgrade(revision: Annotated[str, typer.Argument(help="a revision, or head")] = "head") -> None:
    """Migrate to the newest revision; safe to run from many processes at once."""
    from database.upgrade import upgrade as migrate

    before, after = with_engine(lambda engine: migrate(engine, revision))
    typer.echo(f"already at {after}" if before == after else f"{before or 'empty'} -> {after}")


@commands.command()
def status() -> None:
    """Say which revision the database has and which one this version needs; exits 1 when they differ."""
    from database.upgrade import newest_revision, present_revision

    async def present(engine: AsyncEngine) -> str | None:
        async with engine.connect() as connection:
            return await connection.run_sync(present_revision)

    found, needed = with_engine(present), newest_revision()
    typer.echo(f"database {found or 'empty'}, this version needs {needed}")
    raise typer.Exit(found != needed)


@commands.command()
def prune(batch: Annotated[int, typer.Option(min=1, help="rows a transaction")] = 1_000) -> None:
    """Delete rows older than their table's RETENTION_ setting, in small batches."""
    from database.retention import RetentionSettings
    from database.retention import prune as delete

    now = datetime.now(UTC)
    deleted = with_engine(lambda engine: delete(engine, RetentionSettings(), now=now, batch=batch))
    for table, rows in deleted.items():
        typer.echo(f"{table:20} {rows}")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(commands, name="db", rich_help_panel="Operations")
