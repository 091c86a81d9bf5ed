"""Many seeds in several processes: `python -m tests.simulation.sweep --from 0 --count 100000 --progress FILE`.

The file grows by a line for each chunk of seeds that was run; run again with the same file, it goes on behind the last.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.simulation.simulate import PLANS, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 50


class Swept(NamedTuple):
    """`failures` by seed. `covered`: in how many of the seeds a condition was met."""

    first: int
    behind: int
    covered: Counter[str]
    failures: dict[int, str]


def swept(what: str, first: int, count: int) -> Swept:
    """In this process."""
    gc.freeze()
    plan_of, covered, failures = PLANS[what], Counter[str](), dict[int, str]()
    for seed in range(first, first + count):
        outcome = simulate(plan_of(seed))
        if outcome.failure is not None:
            failures[seed] = outcome.failure
        covered.update(name for name, times in outcome.covered.items() if times)
        covered[f"schedule {outcome.schedule}"] += 1
    gc.unfreeze()
    return Swept(first, first + count, covered, failures)


def sweep(what: str, first: int, count: int, *, processes: int | None = None) -> Iterator[Swept]:
    """A chunk at a time, in order; each process begins with another hash seed."""
    chunks = [(start, min(CHUNK, first + count - start)) for start in range(first, first + count, CHUNK)]
    with ProcessPoolExecutor(processes or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        try:
            yield from pool.map(swept, *zip(*((what, *chunk) for chunk in chunks), strict=True))
        finally:
            pool.shutdown(cancel_futures=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", choices=sorted(PLANS), default="engine")
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--processes", type=int)
    parser.add_argument("--progress", type=Path, help="go on behind the last seed in this file, and note the next ones")
    args = parser.parse_args()
    first, end = args.first, args.first + args.count
    if args.progress is not None and args.progress.exists() and (lines := args.progress.read_text().splitlines()):
        first = max(first, int(lines[-1].split()[0]))
    begin, failed = time.monotonic(), 0
    for chunk in sweep(args.what, first, end - first, processes=args.processes):
        failed += len(chunk.failures)
        pace = (time.monotonic() - begin) * 1000 / (chunk.behind - first)
        line = f"{chunk.behind} {len(chunk.failures)} failed, {pace:.0f} ms a seed, {dict(chunk.failures) or 'ok'}\n"
        sys.stdout.write(line)
        sys.stdout.flush()
        if args.progress is not None:
            with args.progress.open("a") as file:
                file.write(line)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
