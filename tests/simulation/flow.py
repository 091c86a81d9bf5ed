"""The flow that the simulator runs: it keeps a running fold per key, publishes each step, sets and cancels timers.

It follows the rules for every flow: outputs, then timers and tables, then return; what it caches is void in another
epoch; a record at or below the applied offset changes nothing, and is written again.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.own_topic import own_topic
from streams.engine.consumer import Stale
from streams.engine.publish import Outgoing
from streams.engine.timers import Timer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from streams.engine.consumer import Batch

INPUT, LOOSE = "input", "loose"
OUTPUT, LOOSE_OUTPUT, FIRED = (own_topic(name) for name in ("output", "loose-output", "fired"))
TABLES = ("states", "timers")
FAR_S = 100_000


class State(msgspec.Struct, array_like=True, frozen=True):
    """What was seen of a key: the offset and number of its newest record, and the fold of all."""

    applied_offset: int
    count: int
    fold: int


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(State).decode
NOTHING = State(-1, 0, 0)


def step(state: State, offset: int, value: bytes) -> State:
    """Order and multiplicity both show in the fold."""
    return State(offset, state.count + 1, zlib.crc32(value, state.fold))


def output_of(key: bytes, state: State) -> bytes:
    return b"%s %d %d" % (key, state.count, state.fold)


def near_timer(key: bytes, number: int, at_ms: int) -> Timer:
    timer_id = f"{key.decode()}-{number}"
    due = at_ms + zlib.crc32(timer_id.encode()) % 4_000
    return Timer(timer_id=timer_id, due_at_ms=due, topic=FIRED, key=key, value=b"%s %d" % (timer_id.encode(), due))


def far_timer(key: bytes, number: int, at_ms: int) -> Timer:
    """It is cancelled three records later."""
    timer_id = f"{key.decode()}-{number}-far"
    return Timer(timer_id=timer_id, due_at_ms=at_ms + FAR_S * 1000, topic=FIRED, key=key, value=timer_id.encode())


def renewed_timer(key: bytes, number: int, at_ms: int) -> Timer:
    """Set again and again under one id, sometimes when it has just fired: the last one must fire."""
    due = at_ms + 500 + zlib.crc32(b"%s %d" % (key, number)) % 2_000
    value = b"%s-renewed %d %d" % (key, number, due)
    return Timer(timer_id=f"{key.decode()}-renewed", due_at_ms=due, topic=FIRED, key=key, value=value)


class Trouble:
    """What makes a flow slow, and lets it give batches back."""

    def __init__(self, rng: Random, delay_s: float, stale_one_in: int) -> None:
        self._rng = rng
        self._delay_s = delay_s
        self._stale_one_in = stale_one_in

    async def maybe(self) -> None:
        if self._delay_s:
            await asyncio.sleep(self._rng.random() * self._delay_s)
        if self._stale_one_in and self._rng.random() * self._stale_one_in < 1:
            raise Stale("the flow gives it back")


class Passing:
    """The other flow: batches side by side; each record is passed on, in no order, with no state."""

    def __init__(self, publish: Any, trouble: Trouble) -> None:
        self._publish = publish
        self._trouble = trouble

    async def handle(self, batch: Batch) -> None:
        await self._trouble.maybe()
        if batch.must_end() or not batch.still_ours():
            raise Stale("the partition goes")
        await self._publish([Outgoing(LOOSE_OUTPUT, record.key, record.value) for record in batch.records])
        await self._trouble.maybe()


class Folding:
    """Of one process."""

    def __init__(self, publish: Any, states: Any, timers: Any, trouble: Trouble) -> None:
        self._publish = publish
        self._trouble = trouble
        self._states = states
        self._timers = timers
        self._cache: dict[int, tuple[int, dict[bytes, State]]] = {}
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def handle(self, batch: Batch) -> None:
        async with self._locks[batch.partition]:
            await self._handle(batch)

    async def _handle(self, batch: Batch) -> None:
        epoch, known = self._cache.get(batch.partition, (-1, {}))
        if epoch != batch.epoch:
            known = {}
            self._cache[batch.partition] = (batch.epoch, known)
        outgoing: list[Outgoing] = []
        touched: dict[bytes, State] = {}
        for record in batch.records:
            key, value = record.key or b"", record.value or b""
            state = known.get(key) or self._stored(batch, key)
            if record.offset > state.applied_offset:
                state = step(state, record.offset, value)
                outgoing.append(Outgoing(OUTPUT, key, output_of(key, state), partition=batch.partition))
            known[key] = touched[key] = state
        await self._trouble.maybe()
        if not batch.still_ours():
            raise Stale("the partition went")
        await self._publish(outgoing)
        await self._trouble.maybe()
        await self._set_timers(batch, batch.records)
        await self._states.write(batch, {key: encode(state) for key, state in touched.items()})

    def _stored(self, batch: Batch, key: bytes) -> State:
        raw = self._states.read(batch, key)
        return NOTHING if raw is None else decode(raw)

    async def _set_timers(self, batch: Batch, records: Sequence[Any]) -> None:
        """Also for records that are known: the timers' changelog may lack what the states' changelog has."""
        timers: list[Timer] = []
        cancelled: list[str] = []
        for record in records:
            number = int(record.value)
            if number % 5 == 0:
                timers.append(near_timer(record.key, number, record.timestamp))
            elif number % 5 == 1:
                timers.append(far_timer(record.key, number, record.timestamp))
            elif number % 5 == 2:
                timers.append(renewed_timer(record.key, number, record.timestamp))
            elif number % 5 == 4:
                cancelled.append(far_timer(record.key, number - 3, 0).timer_id)
        if timers:
            await self._timers.set(batch, timers)
        if cancelled:
            await self._timers.cancel(batch, cancelled)
