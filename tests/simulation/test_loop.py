"""The loop: time is virtual, the order of ready tasks is the seed's, and a process can be stopped in any state."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from random import Random

import pytest

from tests.simulation.clocks import RealThreadError, virtual
from tests.simulation.loop import SimLoop, StepsExceeded, Stuck
from tests.simulation.processes import Process, running
from tests.simulation.schedules import Fifo, Pct, Recorded, Recording, Schedule, Uniform


def loop_of(schedule: Schedule | None = None, *, max_steps: int = 10_000) -> SimLoop:
    return SimLoop(schedule or Fifo(), Random("loop"), max_steps=max_steps)


async def race(names: list[str]) -> list[str]:
    """The order in which tasks that all can run come to their third step."""
    order: list[str] = []

    async def runner(name: str) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        order.append(name)

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(runner(name))
    return order


def test_an_hour_passes_in_no_time() -> None:
    loop = loop_of()
    begin = time.monotonic()
    with virtual(loop, Random(0)):
        loop.run(asyncio.sleep(3_600))
        assert time.monotonic() >= 4_600
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("kind", ["uniform", "pct"])
def test_a_seed_gives_the_same_order_and_the_same_hash_every_time(kind: str) -> None:
    def one(seed: int) -> tuple[list[str], str]:
        rng = Random(seed)
        loop = loop_of(Uniform(rng) if kind == "uniform" else Pct(rng, depth=3, steps=30))
        return loop.run(race(list("abcdef"))), loop.digest

    assert [one(seed) for seed in range(20)] == [one(seed) for seed in range(20)]
    assert len({"".join(one(seed)[0]) for seed in range(20)}) > 10


def test_a_recorded_schedule_runs_again() -> None:
    recording = Recording(Uniform(Random(3)))
    first = loop_of(recording).run(race(list("abcdef")))
    assert loop_of(Recorded(recording.turns)).run(race(list("abcdef"))) == first
    assert loop_of(Recorded({})).run(race(list("abcdef"))) == loop_of().run(race(list("abcdef")))


def test_what_runs_in_an_executor_runs_in_the_loop_and_threads_are_refused() -> None:
    loop = loop_of()

    async def main() -> int:
        with pytest.raises(RealThreadError):
            threading.Thread(target=print).start()
        return await asyncio.to_thread(threading.get_ident)

    with virtual(loop, Random(0)):
        assert loop.run(main()) == threading.get_ident()


def test_waiting_for_what_never_comes_is_an_error() -> None:
    with pytest.raises(Stuck):
        loop_of().run(asyncio.Event().wait())


def test_a_run_without_end_is_an_error() -> None:
    loop = loop_of(max_steps=100)

    async def spin() -> None:
        while True:
            await asyncio.sleep(0)
            loop.note("spins")

    with pytest.raises(StepsExceeded):
        loop.run(spin())


def test_a_frozen_process_does_nothing_until_it_wakes_and_a_killed_one_never_again() -> None:
    loop = loop_of()
    ticks: list[tuple[str, float]] = []

    async def tick(name: str) -> None:
        while True:
            await asyncio.sleep(1)
            ticks.append((name, round(loop.time() - 1_000, 1)))

    async def main() -> None:
        frozen, killed = Process("frozen"), Process("killed")
        tasks = []
        for process in (frozen, killed):
            token = running.set(process)
            tasks.append(asyncio.create_task(tick(process.name)))
            running.reset(token)
        await asyncio.sleep(1.5)
        frozen.freeze(loop.time())
        killed.end("test")
        await asyncio.sleep(3)
        loop.wake(frozen)
        await asyncio.sleep(1.2)

    loop.run(main())
    assert ticks == [("frozen", 1.0), ("killed", 1.0), ("frozen", 4.5), ("frozen", 5.5)]


def test_no_module_of_the_engine_keeps_a_clock_that_cannot_be_replaced() -> None:
    for path in (Path(__file__).parents[2] / "streams" / "engine").glob("*.py"):
        for name in ("from time import", "from random import"):
            assert name not in path.read_text(encoding="utf-8"), f"{path}: {name}"
