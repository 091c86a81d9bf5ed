"""What must hold in every run, whatever happened in it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from streams.engine.applied_offset import applied_offset_of, newest_by_applied_offset
from streams.engine.timer_rows import decode as decode_timer
from tests.simulation.flow import (
    FIRED,
    INPUT,
    LOOSE_OUTPUT,
    NOTHING,
    OUTPUT,
    State,
    decode,
    encode,
    near_timer,
    output_of,
    renewed_timer,
    step,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.simulation.partition_log import PartitionLog, SimRecord
    from tests.simulation.plan import Plan
    from tests.simulation.processes import Process
    from tests.simulation.world import World

CLOCK_SLACK_MS = 2_100
# From the question whether a batch is ours until its last record is sent.
ASKED_BEFORE_S = 1.5


class Invariants:
    """Some are checked while the run goes on, at the broker; the others at its end."""

    def __init__(self, world: World, plan: Plan) -> None:
        self._world = world
        self._outputs: set[bytes] = set()
        self._applied: dict[tuple[int, bytes], int] = {}
        self._committed: dict[Any, int] = {}
        self._expected: dict[tuple[int, int], bytes] = {}
        self._folds: dict[tuple[int, bytes], State] = defaultdict(lambda: NOTHING)
        # What retention took of the loose topic, perhaps before anybody read it.
        self.expired: set[tuple[str, int, int]] = set()
        # A seek by hand may commit an earlier offset.
        self._sought = any(fault.kind == "seek" for fault in plan.faults)
        # Timers that a worker wrote whose partition had gone: they stay, whatever the next owner deleted before.
        self._late: set[tuple[int, bytes]] = set()
        self._seen_input = [0] * plan.partitions
        world.watch(self._on_append, self._on_commit, self._on_send)

    def _on_append(self, log: PartitionLog, first: int, process: Process | None) -> None:
        new = [record for record in log.history[-40:] if record.offset >= first]
        if log.topic in {OUTPUT.name, LOOSE_OUTPUT.name}:
            self._outputs.update(record.value or b"" for record in new)
        elif log.topic == "states-changelog":
            for record in new:
                key = (log.partition, record.key or b"")
                self._applied[key] = max(self._applied.get(key, -1), decode(record.value or b"").applied_offset)
        elif log.topic == "timers-changelog":
            if process is not None and log.partition not in self._world.group.assignment.get(process.name, ()):
                self._late |= {(log.partition, record.key or b"") for record in new}
                self._world.covered["late timers"] += len(new)
        elif log.topic == FIRED.name:
            for record in new:
                self._fired_in_time(record)

    def _on_send(self, process: Process, topic: str, partition: int) -> None:
        """A worker sends nothing of a partition that another one has: it asks before, and stops in time."""
        group = self._world.group
        if topic not in {OUTPUT.name, "states-changelog", "timers-changelog"} or process.frozen_s:
            return
        owner = next((name for name, numbers in group.assignment.items() if partition in numbers), process.name)
        for_s = self._world.broker.loop.time() - group.assigned_at
        if owner != process.name and for_s > ASKED_BEFORE_S:
            raise AssertionError(f"{process.name} sends to {topic}[{partition}], {owner} has had it for {for_s:.1f} s")

    def _fired_in_time(self, record: SimRecord) -> None:
        _, _, due = (record.value or b"").rpartition(b" ")
        if record.timestamp < int(due) - CLOCK_SLACK_MS * self._clocks_were_set():
            raise AssertionError(f"timer {record.value!r} fired {int(due) - record.timestamp} ms early")

    def _clocks_were_set(self) -> int:
        """How often; all of it may have hit one machine."""
        return sum(fault.kind == "clock" for fault in self._world.plan.faults)

    def _follow_input(self) -> None:
        """What every record of the input makes of its key."""
        for number, log in enumerate(self._world.broker.topics[INPUT]):
            for record in log.history[self._seen_input[number] :]:
                key = (number, record.key or b"")
                state = self._folds[key] = step(self._folds[key], record.offset, record.value or b"")
                self._expected[number, record.offset] = output_of(key[1], state)
            self._seen_input[number] = len(log.history)

    def _on_commit(self, partition: tuple[str, int], offset: int) -> None:
        """Nothing is committed before its output and its state are at the broker, and no offset goes back."""
        topic, number = partition
        former = self._committed.get(partition, 0)
        if offset < former and not self._sought:
            raise AssertionError(f"{topic}[{number}]: commit of {offset} after {former}")
        self._committed[partition] = offset
        self._follow_input()
        for record in self._world.broker.log(topic, number).history:
            if not former <= record.offset < offset or (topic, number, record.offset) in self.expired:
                continue
            output = self._expected[number, record.offset] if topic == INPUT else record.value
            if output not in self._outputs:
                raise AssertionError(f"{topic}[{number}]: {offset} committed, offset {record.offset} has no output")
            if topic == INPUT and self._applied.get((number, record.key or b""), -1) < record.offset:
                raise AssertionError(f"{topic}[{number}]: {offset} committed, the changelog lacks {record.offset}")

    def reset(self, topic: str, number: int) -> None:
        """The group's offset was set back by hand."""
        self._committed.pop((topic, number), None)

    def what_is_missing(self) -> str:
        near, renewed = self._timers()
        missing = (near | {values[-1] for values in renewed.values()}) - self._fired()
        if missing:
            return f"{len(missing)} timers never fired: {sorted(missing)[:3]}"
        rows = self._rows("timers")
        return f"{len(rows)} timers are still in the changelog: {sorted(rows)[:3]}" if rows else ""

    def _timers(self) -> tuple[set[bytes], Mapping[bytes, Sequence[bytes]]]:
        """What the timers publish that are set once, and those of each key that are set again, in order."""
        near: set[bytes] = set()
        renewed: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for log in self._world.broker.topics[INPUT]:
            for record in log.history:
                key, number = record.key or b"", int(record.value or b"")
                if number % 5 == 0:
                    near.add(near_timer(key, number, record.timestamp).value)
                elif number % 5 == 2:
                    renewed[key].append(renewed_timer(key, number, record.timestamp).value)
        return near, renewed

    def _fired(self) -> set[bytes]:
        return {record.value or b"" for log in self._world.broker.topics[FIRED.name] for record in log.history}

    def _rows(self, table: str) -> dict[tuple[int, bytes], bytes]:
        """What a worker without a data folder would restore."""
        return {
            (log.partition, key): value
            for log in self._world.broker.topics[f"{table}-changelog"]
            for key, value in newest_by_applied_offset(log.records, applied_offset_of, lambda _: None).items()
            if value is not None and not (table == "timers" and self._may_stay(log.partition, key))
        }

    def _may_stay(self, number: int, timer_id: bytes) -> bool:
        """A timer that was written late, or again: after a seek by hand, and a crash before it was cancelled again."""
        return (number, timer_id) in self._late or (self._sought and timer_id.endswith(b"-far"))

    def check(self) -> None:
        self._follow_input()
        self._check_outputs()
        near, renewed = self._timers()
        if unknown := self._fired() - near.union(*renewed.values()):
            raise AssertionError(f"fired, and never due: {sorted(unknown)[:3]}")
        states = {key: encode(state) for key, state in self._folds.items()}
        self._check_rows("states", self._rows("states"), states)
        for worker in self._world.workers:
            for table, want in (("states", states), ("timers", {})):
                for number, rows in worker.rows(table).items():
                    there = {
                        (number, key): raw
                        for key, raw in rows
                        if not (table == "timers" and self._may_stay(number, key))
                    }
                    ours = {key: raw for key, raw in want.items() if key[0] == number}
                    self._check_rows(f"{table} of {worker.process.name}", there, ours)

    @staticmethod
    def _check_rows(name: str, there: dict[Any, bytes], want: dict[Any, bytes]) -> None:
        for key in sorted(there.keys() | want.keys()):
            if there.get(key) != want.get(key):
                raise AssertionError(f"{name} {key}: {_shown(there.get(key))} instead of {_shown(want.get(key))}")

    def _check_outputs(self) -> None:
        """Every step of every key, each first time in its order; nothing that no step made."""
        for number, log in enumerate(self._world.broker.topics[OUTPUT.name]):
            wanted = [output for (partition, _), output in sorted(self._expected.items()) if partition == number]
            first: dict[bytes, list[bytes]] = defaultdict(list)
            seen: set[bytes] = set()
            for record in log.history:
                if record.value not in seen:
                    seen.add(record.value or b"")
                    first[record.key or b""].append(record.value or b"")
            of_key: dict[bytes, list[bytes]] = defaultdict(list)
            for output in wanted:
                of_key[output.split()[0]].append(output)
            for key in sorted(of_key.keys() | first.keys()):
                if first[key] != of_key[key]:
                    raise AssertionError(f"{OUTPUT.name}[{number}] {key!r}: {first[key]} instead of {of_key[key]}")


def _shown(raw: bytes | None) -> object:
    if raw is None:
        return "nothing"
    try:
        return decode(raw)
    except Exception:  # noqa: BLE001 - it is a timer then
        return decode_timer(raw)
