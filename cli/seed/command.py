"""`seed`: organizations, units, contacts and what belongs to them, from a file into a running system."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.api_client import DEFAULT_URL, Url, api_client, reported

IDS = ("organization_id", "unit_id", "user_id", "rule_id")


def seed(
    file: Annotated[Path | None, typer.Argument(help="YAML; --demo --print shows one", dir_okay=False)] = None,
    demo: Annotated[bool, typer.Option("--demo", help="the demo's two organizations instead of a file")] = False,
    copies: Annotated[int, typer.Option(min=1, max=10_000, help="with --demo: twelve units each")] = 1,
    show: Annotated[bool, typer.Option("--print", help="print what would be brought in, as a file")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Fill a running system through its API; a second run changes nothing.

    The key is read from FRESHTRACK_API_KEY, or from the file that FRESHTRACK_API_KEY_FILE names.
    """
    from cli.seed.demo import demo_seed
    from cli.seed.seed_file import SeedError, read_seed
    from producers.demo_fleet import demo_fleet

    if (file is None) is not demo:
        raise typer.BadParameter("name a file, or give --demo")
    try:
        wanted, lines = demo_seed(demo_fleet(copies=copies)) if file is None else read_seed(file)
        if show:
            import yaml

            plain = _names_first(wanted.model_dump(mode="json", exclude_defaults=True))
            yaml.safe_dump(plain, sys.stdout, sort_keys=False, allow_unicode=True)
            return
        from cli.seed.apply import sow

        with reported(), api_client(url) as client:
            for done in sow(client, wanted, lines):
                typer.echo(str(done))
    except SeedError as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(1) from None


def _names_first(part: object) -> object:
    """The id of a thing stands before what is said of it."""
    if isinstance(part, list):
        return [_names_first(item) for item in part]
    if isinstance(part, dict):
        return {name: _names_first(part[name]) for name in sorted(part, key=lambda name: name not in IDS)}
    return part


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel="Operations")(seed)
