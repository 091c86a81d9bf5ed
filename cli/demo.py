"""`demo`: everything on one machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parent.parent


def demo(
    once: Annotated[
        bool, typer.Option(help="end after the first breach was texted and resolved, with a JSON line")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="show what every process logs")] = False,
) -> None:
    """See it work: a broker, the workers, a simulated fleet and a fake SMS provider on this machine."""
    from local.demo import DemoFailedError, run_demo, run_demo_once
    from local.jars import JarsUnavailableError
    from local.stack import StackDidNotStartError

    try:
        if once:
            import msgspec

            sys.stdout.write(msgspec.json.encode(run_demo_once(verbose=verbose)).decode() + "\n")
        else:
            run_demo(Path(os.environ.get("FRESHTRACK_HOME", ROOT / ".freshtrack")) / "demo", verbose=verbose)
    except (DemoFailedError, JarsUnavailableError, StackDidNotStartError) as error:
        typer.secho(f"The demo did not come through: {error}", fg="red", err=True)
        raise typer.Exit(1) from None


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel="See it work")(demo)
