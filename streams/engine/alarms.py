"""Alarms: what whoever runs the installation must look at, although the workers go on."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = structlog.get_logger(__name__)

Channel: TypeAlias = "Callable[[str, Mapping[str, object]], None]"
"""Takes an alarm's name and its fields to whoever must know; returns at once and raises nothing."""

raised: Final[Counter[str]] = Counter()
"""How often each alarm was raised in this process, for the metrics."""
channels: Final[list[Channel]] = []


def raise_alarm(name: str, error: BaseException | None = None, **fields: object) -> None:
    """Say it in the log at level error, count it, and hand it to every channel."""
    raised[name] += 1
    log.error(name, alarm=True, exc_info=error, **fields)
    for channel in channels:
        channel(name, fields)
