"""The engine under every schedule: a run of whole workers in one thread, with virtual time, decided by one seed.

    python -m tests.simulation.simulate --from 0 --count 100     # seeds; a line each
    python -m tests.simulation.simulate --from 579 --shrink      # the shortest schedule that still fails
    python -m tests.simulation.simulate --what sms --count 100   # the SMS path, with a provider that lies
    python -m tests.simulation.sweep --from 0 --count 100000     # very many seeds, in several processes
    python -m tests.simulation.hunt                              # planted bugs: how many seeds each one needs

**What is real.** `GroupMember` with its partitions, delivery, recovery, placement, commits and watchdog; `each_batch`;
tables with their changelogs; timers; publishing; the freeze guard. `worker.py` puts them together as an app does.
**What is not.** Faust (`engine_parts.py`: queues, and the places of tables), aiokafka (`client.py` implements the
engine's `BrokerClient`; `producer.py`), RocksDB (`Disk`), and the brokers (`broker.py`, `partition_log.py`,
`group.py`): produce requests that come late, get lost, or fail and have arrived, leaderless partitions, compaction that
drops old tombstones, retention that overtakes readers, topics that lose their end, transaction markers, a coordinator
with generations and eager rebalances that refuses an old one's commits.

**How a seed decides.** `loop.py` is an asyncio loop without I/O: nothing happens at a real time. Which ready task goes
on is the schedule's choice (`schedules.py`: first come first served, uniform, or PCT); how long a request takes and
whether it gets lost is the broker's; how much work there is and which faults come when is the workload's (`plan.py`,
`faults.py`). Each has a random stream of its own. Every task knows its process (`processes.py`), so a process can be
killed, frozen and woken in any state, and its clock be set. Sets iterate by the loop's own hash, threads are refused.
The loop hashes each step: two runs of a seed with equal digests were the same run.

**What runs** is a scenario (`scenario.py`), and what must hold belongs to it. For the engine (`folding_run.py`) a flow
folds the records of each key, publishes every step, sets timers, renews and cancels them; a second one passes records
on side by side (`flow.py`). Checked are (`invariants.py`): no commit before output and state are at the broker, and
none that goes back; each output there, in order, and what the fold says; nothing sent for a partition that another
worker has; changelogs and stores of all owners equal to the fold of the input; each timer fired, none early, none left;
no task failed unseen; and, when the faults are over, an end (`NoEnd`). The client fails a run that breaks its contract
or holds a rebalance up.
`sms/` runs all flows of the notifications worker, people who acknowledge, and a provider that hangs, lies and repeats
itself: no request is lost or accepted twice without `unknown` said before, no reminder leaves after an acknowledgement
that could be read, the window holds, and every request and timer has an end.

**When a seed fails**, the test shrinks it (`shrink.py`) and prints what is left: faults, choices, every event. A seed
whose schedule is first come first served fails in production just as well; under the others ask first whether asyncio
could have run the tasks in that order after other delays. It nearly always could.

**Whether it would find a bug**: `mutations.py` plants some; one that no seed finds means that it is too weak.
"""

from __future__ import annotations

import argparse
import gc
import sys
import warnings
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from tests.simulation import plan
from tests.simulation.clocks import virtual
from tests.simulation.engine_parts import faust_stands_aside
from tests.simulation.loop import SimLoop
from tests.simulation.schedules import Recording
from tests.simulation.sms.plan import sms_plan_of
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from tests.simulation.scenario import AnyPlan
    from tests.simulation.schedules import Schedule


class Outcome(NamedTuple):
    """`failure` is null where every invariant held. `turns` are the schedule's choices, to be recorded."""

    schedule: str

    failure: str | None
    digest: str
    steps: int
    turns: dict[int, int]
    covered: Counter[str]
    trace: list[str]


def simulate(plan: AnyPlan, schedule: Schedule | None = None, *, trace: bool = False) -> Outcome:
    """One run. The same plan and schedule always have the same outcome."""
    recording = Recording(schedule or plan.schedule())
    loop = SimLoop(recording, Random(f"{plan.seed}/loop"))
    if trace:
        loop.trace = []
    failure = None
    with virtual(loop, Random(f"{plan.seed}/module")), faust_stands_aside(), warnings.catch_warnings():
        # Tasks of a killed process that had not begun.
        warnings.filterwarnings("ignore", message="coroutine .* was never awaited")
        world: World | None = None

        async def main() -> None:
            nonlocal world
            world = World(loop, plan)
            await world.run()

        try:
            loop.run(main())
        except Exception as error:  # noqa: BLE001 - also what the engine raises is a finding
            failure = f"{type(error).__name__}: {error}"
    assert world is not None
    return Outcome(recording.name, failure, loop.digest, loop.steps, recording.turns, world.covered, loop.trace or [])


PLANS: dict[str, Callable[[int], AnyPlan]] = {"engine": plan.plan_of, "sms": sms_plan_of}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", choices=sorted(PLANS), default="engine")
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--trace", action="store_true", help="print every event")
    parser.add_argument("--shrink", action="store_true", help="of the first seed: the shortest schedule that fails")
    args = parser.parse_args()
    plan_of = PLANS[args.what]
    gc.freeze()
    if args.shrink:
        from tests.simulation.shrink import report, shrink

        sys.stdout.write(report(shrink(plan_of(args.first))) + "\n")
        return
    for seed in range(args.first, args.first + args.count):
        outcome = simulate(plan_of(seed), trace=args.trace)
        sys.stdout.write(f"{seed} {outcome.digest} {outcome.steps} {outcome.failure or 'ok'}\n")
        for line in outcome.trace:
            sys.stdout.write(f"    {line}\n")


if __name__ == "__main__":
    main()
