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
    ("format", ("-m", "ruff", "format", "--check", ".")),
    ("lint", ("-m", "ruff", "check", ".")),
    # Its module has no `__main__`; what it caches would lie in the checkout.
    ("imports", ("-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache")),
    ("types", ("-m", "mypy")),
)
# Most tests wait for a broker or a database: twice as many processes as cores keep the cores busy.
PROCESSES_A_CORE = 2


def _run(name: str, command: tuple[str, ...]) -> tuple[str, float, int]:
    typer.secho(f"== {name}", bold=True, err=True)
    begin = time.monotonic()
    code = subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode
    return name, time.monotonic() - begin, code


def _report(results: list[tuple[str, float, int]]) -> None:
    for name, seconds, code in results:
        typer.secho(f"{name:8} {'ok' if code == 0 else f'failed ({code})':12} {seconds:6.1f} s", err=True)
    raise typer.Exit(max(code for _, _, code in results))


def check() -> None:
    """Format, lint, the directions of imports, and types."""
    _report([_run(name, command) for name, command in CHECKS])


def run_tests(
    arguments: Annotated[list[str] | None, typer.Argument(help="handed to pytest")] = None,
    *,
    mutants: Annotated[
        int | None, typer.Option(min=1, help="change the domain's code in so many places, and see which tests notice")
    ] = None,
) -> None:
    """Format, lint, imports, types and all tests; with arguments only pytest with them."""
    if mutants is not None:
        from cli.mutants import run_mutants

        raise typer.Exit(run_mutants(ROOT, mutants))
    if arguments:
        os.execv(sys.executable, [sys.executable, "-m", "pytest", *arguments])  # noqa: S606
    results = [_run(name, command) for name, command in CHECKS]
    processes = str(PROCESSES_A_CORE * (os.cpu_count() or 1))
    # A file's tests stay in one process: they share what its fixtures start.
    results.append(_run("tests", ("-m", "pytest", "-n", processes, "--dist", "loadfile")))
    _report(results)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    passed_on = {"ignore_unknown_options": True, "allow_interspersed_args": False}
    app.command("test", context_settings=passed_on, rich_help_panel="Development")(run_tests)
    app.command(rich_help_panel="Development")(check)
