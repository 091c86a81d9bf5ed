"""`test` and `check`: what a developer and CI run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parent.parent

CHECKS = (
    ("format", ("ruff", "format", "--check", ".")),
    ("lint", ("ruff", "check", ".")),
    ("types", ("mypy",)),
)


def _run(name: str, command: tuple[str, ...]) -> tuple[str, float, int]:
    typer.secho(f"== {name}", bold=True, err=True)
    begin = time.monotonic()
    code = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False).returncode
    return name, time.monotonic() - begin, code


def _report(results: list[tuple[str, float, int]]) -> None:
    for name, seconds, code in results:
        typer.secho(f"{name:8} {'ok' if code == 0 else f'failed ({code})':12} {seconds:6.1f} s", err=True)
    raise typer.Exit(max(code for _, _, code in results))


def check() -> None:
    """Format, lint and types."""
    _report([_run(name, command) for name, command in CHECKS])


def test(arguments: Annotated[list[str] | None, typer.Argument(help="handed to pytest")] = None) -> None:  # noqa: PT028
    """Format, lint, types and all tests; with arguments only pytest with them."""
    if arguments:
        os.execv(sys.executable, [sys.executable, "-m", "pytest", *arguments])  # noqa: S606
    results = [_run(name, command) for name, command in CHECKS]
    results.append(_run("tests", ("pytest",)))
    _report(results)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    passed_on = {"ignore_unknown_options": True, "allow_interspersed_args": False}
    app.command(context_settings=passed_on, rich_help_panel="Development")(test)
    app.command(rich_help_panel="Development")(check)
