"""`schemas`: bring `schemas/generated/` up to date."""

from __future__ import annotations

from typing import Annotated

import typer


def schemas(
    check: Annotated[bool, typer.Option("--check", help="write nothing; exit 1 when out of date")] = False,
) -> None:
    """Write the JSON Schemas and the AsyncAPI document that follow from the declared messages and topics."""
    from cli.contracts.documents import FOLDER, stale, write

    differing = stale() if check else write()
    for name in differing:
        typer.echo(f"{'out of date' if check else 'written'}: {FOLDER.name}/{name}")
    if not differing:
        typer.echo("up to date")
    raise typer.Exit(check and bool(differing))


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(rich_help_panel="Development")(schemas)
