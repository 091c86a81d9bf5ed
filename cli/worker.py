"""`worker NAME`: one Faust app, against any broker."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Name(StrEnum):
    DETECTION = "detection"
    NOTIFICATIONS = "notifications"
    DIGESTS = "digests"
    RECORDER = "recorder"


def worker(name: Annotated[Name, typer.Argument(help="which app to run")]) -> None:
    """Run one worker until SIGTERM; start as many as the topics have partitions."""
    # The event loop is chosen in `streams.apps`, before anything imports Faust.
    from streams.apps import build
    from streams.engine.run import run

    run(name.value, build)


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Processes")(worker)
