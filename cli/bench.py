"""`bench NAME`: a benchmark, beside its reference in the same run."""

from __future__ import annotations

import importlib
from enum import StrEnum
from typing import Annotated

import typer


class Benchmark(StrEnum):
    DETECT = "detect"
    RECOVERY = "recovery"
    BUCKETS = "buckets"
    DIGEST = "digest"
    INGEST = "ingest"
    TIMERS = "timers"
    LATENCY = "latency"
    RECORDER = "recorder"


def bench(name: Annotated[Benchmark, typer.Argument(help="what to measure")]) -> None:
    """Measure speed: a table, and one JSON line with min, median and max."""
    importlib.import_module(f"benchmarks.{name.value}").main()


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel="Development")(bench)
