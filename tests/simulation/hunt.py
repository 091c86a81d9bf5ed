"""How many seeds each planted bug needs: `python -m tests.simulation.hunt --write` renews `planted_bugs.md`.

`--only WORD` hunts some of them and prints their rows.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.simulation.mutations import MUTATIONS, planted
from tests.simulation.shrink import shrink
from tests.simulation.simulate import PLANS, simulate
from tests.simulation.sms.mutations import SMS_MUTATIONS

if TYPE_CHECKING:
    from tests.simulation.mutations import Mutation

ALL_MUTATIONS = (*MUTATIONS, *SMS_MUTATIONS)
# Which simulation runs the code of a room.
SIMULATION_OF = {"engine": "engine", "notifications": "sms"}
MOST_SEEDS = 2_000
SHRINK_TRIES = 120
TABLE = Path(__file__).with_name("planted_bugs.md")
HEAD = """# Planted bugs

Each is a changed line of the engine (`mutations.py`) or of the SMS path (`sms/mutations.py`), hunted with the seeds 0,
1, 2 …: after how many of them it showed, under which schedule, with which faults, and how many choices of the schedule
were not first come, first served. Faults and choices are those left after shrinking where that was done. A row without
a number tells what was not found yet.
`python -m tests.simulation.hunt --write` renews this page.

| planted bug | seeds | schedule | faults | choices | what broke |
| --- | --- | --- | --- | --- | --- |
"""


class Found(NamedTuple):
    """`seeds` runs were needed; null where all of them passed."""

    seeds: int | None
    schedule: str
    faults: tuple[str, ...]
    choices: int
    failure: str


def hunt(mutation: Mutation, *, first: int = 0, most: int = MOST_SEEDS, shrink_tries: int = 0) -> Found:
    """With `shrink_tries` the faults and choices are those that are left after shrinking."""
    plan_of = PLANS[SIMULATION_OF[mutation.room]]
    with planted(mutation):
        for seed in range(first, first + most):
            plan = plan_of(seed)
            outcome = simulate(plan)
            if outcome.failure is None:
                continue
            turns = outcome.turns
            if shrink_tries:
                plan, turns, _ = shrink(plan, tries=shrink_tries)
            kinds = tuple(sorted({fault.kind for fault in plan.faults}))
            return Found(seed - first + 1, outcome.schedule, kinds, len(turns), outcome.failure)
    return Found(None, "", (), 0, "")


def row(mutation: Mutation, found: Found) -> str:
    failure = found.failure.replace("|", "/").replace("\n", " ")[:110]
    return (
        f"| {mutation.name} | {found.seeds or 'not found'} | {found.schedule} | {', '.join(found.faults)} |"
        f" {found.choices} | {failure} |\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--most", type=int, default=MOST_SEEDS)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    mutations = [mutation for mutation in ALL_MUTATIONS if args.only in mutation.name]
    text = HEAD
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
        one = partial(hunt, most=args.most, shrink_tries=SHRINK_TRIES)
        for mutation, found in zip(mutations, pool.map(one, mutations), strict=True):
            line = row(mutation, found)
            sys.stdout.write(line)
            sys.stdout.flush()
            text += line
    if args.write:
        TABLE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
