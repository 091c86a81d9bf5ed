"""How many seeds each planted bug needs: `python -m tests.simulation.hunt`, with `--only WORD` for some of them."""

from __future__ import annotations

import argparse
import gc
import sys
from typing import TYPE_CHECKING, NamedTuple

from tests.simulation.mutations import MUTATIONS, planted
from tests.simulation.plan import plan_of
from tests.simulation.simulate import simulate

if TYPE_CHECKING:
    from tests.simulation.mutations import Mutation

MOST_SEEDS = 2_000


class Found(NamedTuple):
    """`seeds` runs were needed; null where all of them passed."""

    seeds: int | None
    failure: str


def hunt(mutation: Mutation, *, first: int = 0, most: int = MOST_SEEDS) -> Found:
    with planted(mutation):
        for seed in range(first, first + most):
            outcome = simulate(plan_of(seed))
            if outcome.failure is not None:
                return Found(seed - first + 1, outcome.failure)
    return Found(None, "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--most", type=int, default=MOST_SEEDS)
    args = parser.parse_args()
    gc.freeze()
    sys.stdout.write("| planted bug | seeds | what broke |\n| --- | --- | --- |\n")
    for mutation in MUTATIONS:
        if args.only in mutation.name:
            found = hunt(mutation, most=args.most)
            sys.stdout.write(f"| {mutation.name} | {found.seeds or 'not found'} | {found.failure[:100]} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
