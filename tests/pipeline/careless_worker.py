"""The worker `notifications` without one of its protections, so that tests can show that they would notice.

`CARELESS` names what it lacks: `shares` takes the whole of each global limit for itself, `ledger` remembers no request.
"""

# ruff: noqa: E402 - the event loop is chosen before Faust is imported
from __future__ import annotations

import mode.loop

mode.loop.use("uvloop")

import os
from typing import TYPE_CHECKING

from domain.notification import pacing
from streams.apps import build
from streams.engine.run import run
from streams.notifications.ledger import Entry, Ledger

if TYPE_CHECKING:
    from collections.abc import Collection

    from streams.engine.interfaces import Slot


def whole(limit: int, partitions: int, mine: Collection[int]) -> int:
    return limit if mine else 0


def forgotten(ledger: Ledger, slot: Slot, request_id: str) -> Entry:
    return Entry()


def main() -> None:
    match os.environ["CARELESS"]:
        case "shares":
            pacing.share = whole
        case "ledger":
            Ledger.entry = forgotten  # type: ignore[method-assign, assignment]
        case other:
            raise ValueError(f"there is no carelessness {other!r}")
    run("notifications", build)


if __name__ == "__main__":
    main()
