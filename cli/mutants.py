"""Mutants of the domain: small changes of its code, each of which some test should notice.

A sample of all possible changes of comparisons, arithmetic, and/or, constants and conditions. Each runs first against
the tests that import its module, which find most, and what survives runs against all tests of the domain and of the
flows that use the room, without those that need a server. The changes are made in copies of the checkout.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cosmic_ray.work_item import MutationSpec

OPERATORS = re.compile(
    r"core/(ReplaceComparisonOperator|ReplaceBinaryOperator_(Add|Sub|Mul|Div|FloorDiv|Mod|Pow)_|ReplaceAndWithOr"
    r"|ReplaceOrWithAnd|NumberReplacer|AddNot|ReplaceTrueWithFalse|ReplaceFalseWithTrue|ReplaceUnaryOperator"
    r"|ReplaceBreakWithContinue|ReplaceContinueWithBreak)"
)
# The flows that use a room of the domain.
FLOWS = {
    "detection": "tests/streams/detection",
    "notification": "tests/streams/notifications",
    "digest": "tests/streams/digests",
    "redrive": "tests/outbox",
}
ONE_LIMIT_S = 300.0
GOAL = 0.95


class Verdict(NamedTuple):
    """What became of one mutant; `diff` shows the change."""

    killed: bool
    place: str
    diff: str


def run_mutants(root: Path, count: int, *, seed: int = 1) -> int:
    """Try `count` mutants of `domain/`, print score and survivors; the exit code, 1 below the goal."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True).stdout
    tracked = [Path(name) for name in files.split("\0") if name and (root / name).exists()]
    modules = [path for path in tracked if path.parts[0] == "domain" and path.suffix == ".py"]
    os.chdir(root)
    sample = _sample(modules, count, random.Random(seed))  # noqa: S311 - a choice of samples
    processes = os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = partial(_move_to_copy, root, tracked, Path(folder))
        with ProcessPoolExecutor(processes, initializer=copy) as pool:
            verdicts = list(pool.map(_verdict, sample))
    survivors = [verdict for verdict in verdicts if not verdict.killed]
    for verdict in survivors:
        typer.echo(f"survived: {verdict.place}\n{verdict.diff}\n")
    score = 1 - len(survivors) / max(1, len(verdicts))
    typer.echo(f"{len(verdicts) - len(survivors)} of {len(verdicts)} mutants killed: {score:.1%} (goal {GOAL:.0%})")
    return int(score < GOAL)


def _sample(modules: Iterable[Path], count: int, rng: random.Random) -> list[MutationSpec]:
    """One mutant a place in the code, so that comparisons, which have many variants, do not crowd out the rest."""
    from cosmic_ray.commands import init
    from cosmic_ray.work_db import WorkDB

    with tempfile.TemporaryDirectory() as folder:
        db = WorkDB(str(Path(folder) / "session.sqlite"), WorkDB.Mode.create)
        init(sorted(modules), db, {})
        specs = [mutation for item in db.work_items for mutation in item.mutations]
        db.close()
    places: dict[tuple[str, object], list[MutationSpec]] = {}
    for spec in specs:
        if OPERATORS.match(spec.operator_name) and not _is_no_behaviour(spec):
            places.setdefault((str(spec.module_path), spec.start_pos), []).append(spec)
    chosen = rng.sample(sorted(places, key=str), min(count, len(places)))
    return [rng.choice(places[place]) for place in chosen]


def _is_no_behaviour(spec: MutationSpec) -> bool:
    """Whether no test can see the change.

    Assignments to frozen structs fail type checking, `gc=False` only saves time, and imports for types are not run.
    """
    line, column = spec.start_pos
    text: str = Path(spec.module_path).read_text(encoding="utf-8").splitlines()[line - 1]
    return bool(text[:column].endswith(("frozen=", "gc=")) or text.startswith("if TYPE_CHECKING"))


def _move_to_copy(root: Path, tracked: Sequence[Path], folder: Path) -> None:
    """Give this process a checkout of its own to change."""
    copy = folder / str(os.getpid())
    for path in tracked:
        (copy / path.parent).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, copy / path)
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)


def _verdict(spec: MutationSpec) -> Verdict:
    from cosmic_ray.mutating import mutate_and_test
    from cosmic_ray.work_item import TestOutcome

    module = Path(spec.module_path)
    narrow, flows = _tests_of(module), FLOWS.get(module.parts[1])
    for tests in filter(None, (narrow, ["tests/domain"], flows and [flows, "-m", "not broker and not postgres"])):
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        result = mutate_and_test([spec], subprocess.list2cmdline(command), ONE_LIMIT_S)
        if result.test_outcome is not TestOutcome.SURVIVED:
            break
    killed = result.test_outcome is not TestOutcome.SURVIVED
    return Verdict(killed, f"{spec.module_path}:{spec.start_pos[0]} {spec.operator_name}", result.diff or "")


def _tests_of(module: Path) -> list[str]:
    """Test files that import the module directly."""
    package, name = ".".join(module.with_suffix("").parts[:-1]), module.stem
    imported = re.compile(rf"(from {re.escape(package)}\.{name} import|from {re.escape(package)} import .*\b{name}\b)")
    tests = Path("tests/domain").rglob("test_*.py")
    return sorted(str(path) for path in tests if imported.search(path.read_text(encoding="utf-8")))
