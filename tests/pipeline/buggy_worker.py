"""The worker `detection` with a bug planted in its rules: a reading of 6.66 C makes them raise."""

# ruff: noqa: E402 - the event loop is chosen before Faust is imported
from __future__ import annotations

import mode.loop

mode.loop.use("uvloop")

from typing import TYPE_CHECKING

from domain.detection.threshold import settled
from streams.apps import build
from streams.detection import readings_to_alerts_and_aggregates as flow
from streams.engine.run import run

if TYPE_CHECKING:
    from domain.detection.readings import Run
    from domain.detection.unit_state import UnitState, Watch

POISON_C = 6.66


def main() -> None:
    def fails(watch: Watch, state: UnitState, run: Run, now_ms: int) -> UnitState | None:
        if POISON_C in run.temperatures:
            raise ZeroDivisionError("a bug that nobody knows")
        return settled(watch, state, run, now_ms)

    flow.settled = fails  # type: ignore[attr-defined]
    run("detection", build)


if __name__ == "__main__":
    main()
