"""`bench NAME`: a benchmark, beside its reference in the same run."""

from __future__ import annotations

import importlib
import os
from enum import StrEnum
from typing import Annotated

import typer


class Benchmark(StrEnum):
    DETECT = "detect"
    RECOVERY = "recovery"
    DIGEST = "digest"
    INGEST = "ingest"
    TIMERS = "timers"
    LATENCY = "latency"
    RECORDER = "recorder"


def bench(
    name: Annotated[Benchmark, typer.Argument(help="what to measure")],
    scale: Annotated[
        float,
        typer.Option(min=0.0001, max=1, help="below 1: one small run, to see that it works"),
    ] = 1.0,
) -> None:
    """Measure speed: a table, and one JSON line with min, median and max."""
    from benchmarks.scale import VARIABLE

    os.environ[VARIABLE] = str(scale)
    importlib.import_module(f"benchmarks.{name.value}").main()


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel="Development")(bench)
