"""From a reading to the SMS at the provider: how long it takes, calm and under a backlog.

    freshtrack bench latency

Real workers (detection, notifications), each a process; a fake Telnyx, which notes when each request arrives. First
10, 100 and 500 alerts a second, each of another unit, organization and person. Then 20,000 info SMS are queued, the
provider takes 50 ms for each, and ten critical alerts a second come on top, with the production's rate and cap.
The reference, where it can run, is BullMQ: from adding a job to its start, without a provider.
"""

from __future__ import annotations

import re
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from benchmarks.bullmq import peer
from benchmarks.latency_stack import Stack
from benchmarks.recovery import broker
from benchmarks.scale import runs, scaled
from local.telnyx.behaviour import Behaviour
from local.telnyx.client import TelnyxProcess

if TYPE_CHECKING:
    from benchmarks.bullmq import Peer

RUNS = runs(3)
BACKLOG = scaled(20_000, at_least=400)
PROVIDER_MS = 50
UNIT = re.compile(r"\bUnit (\d+)\b")
ALL_SENT_WITHIN_S = 60
# More than any of the rates: here the way is measured, not the limit.
UNLIMITED = {"SMS_PER_SECOND": "5000", "SMS_GLOBAL_CAP": "40"}


class Case(NamedTuple):
    per_s: int
    alerts: int


CASES = tuple(Case(per_s, scaled(alerts, at_least=5)) for per_s, alerts in ((10, 200), (100, 1_000), (500, 2_500)))
CRITICAL = Case(10, scaled(200, at_least=5))
# A broker that has just been started compiles itself for a while, on the cores that are measured here.
WARM_UP = Case(50, scaled(1_500, at_least=5))


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds, of one run; `info_per_s` is what of the backlog was sent meanwhile."""

    p50: float
    p99: float
    max: float
    info_per_s: float | None = None


def latency(values_ms: list[float], info_per_s: float | None = None) -> Latency:
    values_ms.sort()
    count = len(values_ms)
    p50, p99, most = (round(values_ms[place], 1) for place in (count // 2, count * 99 // 100, -1))
    return Latency(p50, p99, most, info_per_s)


def breaches(stack: Stack, telnyx: TelnyxProcess, case: Case, first: int) -> list[float]:
    """Let units from number `first` on breach at the case's rate; the time of each until its SMS arrives, in ms."""
    before = telnyx.counts().arrivals
    at_ms: dict[int, float] = {}
    begin = time.time()
    for number in range(case.alerts):
        ahead_s = begin + number / case.per_s - time.time()
        if ahead_s > 0:
            time.sleep(ahead_s)
        at_ms[first + number] = time.time() * 1000
        stack.breach(first + number)
    deadline = time.monotonic() + ALL_SENT_WITHIN_S
    while True:
        arrived = {
            int(found[1]): arrival.at_ms
            for arrival in telnyx.log(before).arrivals
            if arrival.accepted and (found := UNIT.search(arrival.text))
        }
        if at_ms.keys() <= arrived.keys():
            return [arrived[number] - at_ms[number] for number in at_ms]
        if time.monotonic() > deadline:
            missing = len(at_ms.keys() - arrived.keys())
            raise TimeoutError(f"{missing} of {case.alerts} SMS did not arrive within {ALL_SENT_WITHIN_S} s")
        time.sleep(0.2)


def calm(bootstrap: str) -> dict[str, list[Latency]]:
    results: dict[str, list[Latency]] = {}
    units = RUNS * sum(case.alerts for case in CASES) + WARM_UP.alerts
    with tempfile.TemporaryDirectory(prefix="latency-") as name, TelnyxProcess(Path(name)) as telnyx:
        stack = Stack(bootstrap, Path(name), telnyx)
        stack.configure(units)
        with stack.workers(UNLIMITED):
            breaches(stack, telnyx, WARM_UP, 0)
            first = WARM_UP.alerts
            for _ in range(RUNS):
                for case in CASES:
                    found = latency(breaches(stack, telnyx, case, first))
                    results.setdefault(f"{case.per_s} alerts/s", []).append(found)
                    print(f"{case.per_s} alerts/s: {found}", flush=True)
                    first += case.alerts
    return results


def under_a_backlog(bootstrap: str) -> Latency:
    with tempfile.TemporaryDirectory(prefix="latency-") as name, TelnyxProcess(Path(name)) as telnyx:
        stack = Stack(bootstrap, Path(name), telnyx)
        stack.configure(CRITICAL.alerts + 10)
        stack.queue_info(BACKLOG)
        telnyx.behave(Behaviour(delay_ms=PROVIDER_MS))
        with stack.workers({}):
            breaches(stack, telnyx, Case(10, 10), CRITICAL.alerts)
            before, begin = telnyx.counts().accepted, time.monotonic()
            values_ms = breaches(stack, telnyx, CRITICAL, 0)
            counts, seconds = telnyx.counts(), time.monotonic() - begin
            if counts.accepted >= BACKLOG:
                raise RuntimeError("the backlog was gone before the last critical SMS")
            found = latency(values_ms, round((counts.accepted - before - CRITICAL.alerts) / seconds, 1))
    print(f"critical under {BACKLOG:,} info: {found}", flush=True)
    return found


def reference(bullmq: Peer, results: dict[str, list[Latency]]) -> None:
    for script, name in (("latency.js", "BullMQ, 200 jobs/s"), ("priority.js", "BullMQ, urgent under 20,000")):
        found = bullmq.run(script)
        values = (found["p50_ms"], found["p99_ms"], found["max_ms"])
        results.setdefault(name, []).append(Latency(*values, found.get("low_per_s")))


def main() -> None:
    results: dict[str, list[Latency]] = {}
    with ExitStack() as stack:
        bullmq = stack.enter_context(peer())
        bootstrap = stack.enter_context(broker())
        results |= calm(bootstrap)
        for _ in range(RUNS):
            results.setdefault(f"critical under {BACKLOG:,} info", []).append(under_a_backlog(bootstrap))
            if bullmq is not None:
                reference(bullmq, results)
    print(f"{'ms, min / median / max':32}{'p50':>24}{'p99':>30}{'max':>30}{'others/s':>12}")
    for name, measured in results.items():
        cells = [f"{name:32}"]
        for field in ("p50", "p99", "max"):
            values = [getattr(found, field) for found in measured]
            cells.append(f"{min(values):8.1f} /{statistics.median(values):7.1f} /{max(values):7.1f}  ")
        others = [found.info_per_s for found in measured if found.info_per_s is not None]
        print("".join(cells) + (f"{statistics.median(others):10.0f}" if others else ""), flush=True)
    print(msgspec.json.encode({"benchmark": "latency", "runs": RUNS, "results_ms": results}).decode())


if __name__ == "__main__":
    main()
