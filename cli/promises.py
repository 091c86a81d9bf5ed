"""`promises`: bring the generated parts of `docs/security.md` up to date."""

from __future__ import annotations

import typer


def promises() -> None:
    """Write into docs/security.md which tests hold us to which promise, and how long everything is kept."""
    from cli.contracts.promises import PAGE, updated

    before = PAGE.read_text(encoding="utf-8")
    after = updated(before)
    PAGE.write_text(after, encoding="utf-8")
    typer.echo("up to date" if before == after else f"written: docs/{PAGE.name}")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel="Development")(promises)
