"""A digests worker's schedule on a clock that the test moves: its tables survive, the worker may die at any effect."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from schemas import messages as m
from streams.digests.metrics import DigestCounters
from streams.digests.plans import Plans
from streams.digests.preferences_to_runs import PreferencesToRuns
from streams.digests.runs_to_jobs import RunsToJobs
from tests.streams.fakes import FakeBatch, FakeRecord, FakeTable

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Mapping, Sequence

    from streams.engine.publish import Outgoing
    from streams.engine.timers import Timer


class Killed(Exception):  # noqa: N818 - what kill -9 is to the flow
    pass


class Fuse:
    """Kills the worker at the n-th effect from now on."""

    def __init__(self) -> None:
        self.left: int | None = None

    def burn(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Killed


class MortalTable(FakeTable):
    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse

    async def write(self, batch: object, items: Mapping[bytes, bytes | None], *, durable: bool = False) -> None:
        self._fuse.burn()
        await super().write(batch, items, durable=durable)


class MortalTimers:
    def __init__(self, fuse: Fuse) -> None:
        self.rows: dict[str, Timer] = {}
        self._fuse = fuse

    async def set(self, slot: object, timers: Iterable[Timer]) -> None:
        for timer in timers:
            self._fuse.burn()
            self.rows[timer.timer_id] = timer

    async def cancel(self, slot: object, timer_ids: Iterable[str]) -> None:
        for timer_id in timer_ids:
            self._fuse.burn()
            self.rows.pop(timer_id, None)


class World:
    """Everything that outlives the worker."""

    def __init__(self, rng: random.Random, now_ms: int) -> None:
        self.rng = rng
        self.now_ms = now_ms
        self.fuse = Fuse()
        self.plans = MortalTable(self.fuse)
        self.timers = MortalTimers(self.fuse)
        self.kills = 0
        self.published: list[Outgoing] = []
        self.preferences = 0
        self._start_worker()

    def _start_worker(self) -> None:
        def now() -> int:
            return self.now_ms

        plans = Plans(self.plans, self.timers, now)
        self.take_preferences = PreferencesToRuns(self._publish, plans, now).handle
        self.take_runs = RunsToJobs(self._publish, plans, DigestCounters(), now).handle

    async def _publish(self, records: Sequence[Outgoing]) -> None:
        for record in records:
            self.fuse.burn()
            self.published.append(record)

    def prefer(self, user_id: str, preference: m.DigestPreference | None) -> None:
        """A preference arrives now."""
        value = None if preference is None else m.encode(preference)
        self.preferences += 1
        self._handle([FakeRecord(value, user_id.encode(), self.preferences, timestamp=self.now_ms)], preferences=True)

    def ask(self, order: m.DigestRun) -> None:
        self._handle([FakeRecord(m.encode(order))], preferences=False)

    def go_on_until(self, until_ms: int, deadly: float = 0.0) -> None:
        """The clock runs to `until_ms`; a share `deadly` of the batches kills the worker half-way."""
        while (next_ms := min((t.due_at_ms for t in self.timers.rows.values()), default=until_ms + 1)) <= until_ms:
            self.now_ms = max(self.now_ms, next_ms)
            self._fire(deadly)
        self.now_ms = until_ms

    def _fire(self, deadly: float) -> None:
        due = sorted((t for t in self.timers.rows.values() if t.due_at_ms <= self.now_ms), key=lambda t: t.due_at_ms)
        records = [FakeRecord(timer.value, timer.key) for timer in due]
        if self.rng.random() < deadly:
            # Killed after publishing, before deleting: they fire again.
            self._handle(records, preferences=False, deadly=deadly)
            return
        for timer in due:
            del self.timers.rows[timer.timer_id]
        self._handle(records, preferences=False, deadly=deadly)

    def _handle(self, records: list[FakeRecord], *, preferences: bool, deadly: float = 0.0) -> None:
        """The batch comes again until the worker lives to its end."""
        while True:
            if self.rng.random() < deadly:
                self.fuse.left = self.rng.randrange(3 * len(records) + 1)
            batch = FakeBatch([])
            batch.records = records
            handle = self.take_preferences if preferences else self.take_runs
            try:
                asyncio.run(handle(batch))  # type: ignore[arg-type]
            except Killed:
                self.kills += 1
                self._start_worker()
            else:
                self.fuse.left = None
                return

    def wanted(self) -> list[m.DigestWanted]:
        """What was asked of the jobs; the same id more than once is one digest."""
        decode = msgspec.json.Decoder(m.DigestWanted).decode
        found = [decode(r.value) for r in self.published if r.topic.name == "digest-jobs" and r.value is not None]
        return list({wanted.digest_id: wanted for wanted in found}.values())
