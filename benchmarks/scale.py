"""How large a benchmark is: whole by default; a small part of it shows that it still runs, and nothing about speed."""

from __future__ import annotations

import os

VARIABLE = "BENCHMARK_SCALE"


def scaled(count: int, *, at_least: int = 1) -> int:
    """`count` at the chosen scale (`BENCHMARK_SCALE`, which processes of a benchmark inherit)."""
    return max(at_least, round(count * _scale()))


def runs(count: int) -> int:
    """One run is enough where no figure counts."""
    return count if _scale() >= 1 else 1


def _scale() -> float:
    return float(os.environ.get(VARIABLE, "1"))
