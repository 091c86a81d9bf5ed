"""Times as people type them: an instant with its offset, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import typer

_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def instant(option: str, text: str) -> datetime:
    """Aware. Ends the command with one sentence if the text is no time, or has no offset."""
    if found := _AGO.fullmatch(text):
        return datetime.now(UTC) - timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise typer.BadParameter(
            f"{option} {text!r} is no instant; write one with its offset, such as 2026-03-01T12:00:00Z, or how long"
            " ago, such as 90m, 36h or 7d"
        )
    return at
