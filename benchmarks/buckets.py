"""What the aggregation costs a reading in order, in runs of one unit, beside a bare loop that only collects readings.

    python -m benchmarks.buckets

No broker, no disk: the state stays in memory, closed buckets are computed and thrown away. CPU time, best of three.
"""

from __future__ import annotations

import json
import time
from typing import NamedTuple

from domain.detection.aggregate import take
from domain.detection.aggregate_numbers import Grading
from domain.detection.aggregate_state import About, ClosedBucket, Policy, UnitBuckets

READINGS = 100_000
START_MS = 1_774_000_000_000


class Case(NamedTuple):
    apart_s: int
    run: int


CASES = [Case(apart_s, run) for apart_s in (300, 60, 5, 1) for run in (1, 16, 64)]


def _runs(case: Case) -> list[tuple[list[int], list[float]]]:
    at_ms = [START_MS + number * case.apart_s * 1000 for number in range(READINGS)]
    celsius = [3 + number % 20 / 10 for number in range(READINGS)]
    return [(at_ms[n : n + case.run], celsius[n : n + case.run]) for n in range(0, READINGS, case.run)]


def _aggregate(runs: list[tuple[list[int], list[float]]]) -> tuple[float, int]:
    state, policy = UnitBuckets(), Policy()
    about = About("unit", "organization", Grading(5.0, 0.0, 900_000))
    rows: dict[int, ClosedBucket | None] = {}
    published = 0
    begin = time.process_time()
    for at_ms, celsius in runs:
        step = take(state, at_ms, celsius, about, lambda _, start: rows.get(start), 0, policy)
        if step is not None:
            rows.update(step.rows)
            published += len(step.published)
    return time.process_time() - begin, published


def _collect(runs: list[tuple[list[int], list[float]]]) -> float:
    times: list[int] = []
    values: list[float] = []
    begin = time.process_time()
    for at_ms, celsius in runs:
        times += at_ms
        values += celsius
        if len(times) > 1000:
            times, values = [], []
    return time.process_time() - begin


def main() -> None:
    print("apart s  run   us/reading  us bare  buckets")
    found = []
    for case in CASES:
        runs = _runs(case)
        taken, published = min(_aggregate(runs) for _ in range(3))
        bare = min(_collect(runs) for _ in range(3))
        us, bare_us = taken / READINGS * 1e6, bare / READINGS * 1e6
        print(f"{case.apart_s:7} {case.run:4} {us:12.2f} {bare_us:8.3f} {published:8,}")
        found.append({"apart_s": case.apart_s, "run": case.run, "us": round(us, 3), "bare_us": round(bare_us, 3)})
    print(json.dumps({"buckets": found}))


if __name__ == "__main__":
    main()
