"""The plan of each user, in the user's partition, and the timers that say when to look at it again."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from domain.digest.plan import Plan, look_again_at_ms
from schemas import messages as m
from schemas.headers import event_headers
from schemas.topics import DIGEST_RUNS
from streams.engine.timers import Timer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from streams.engine.interfaces import Clock, Rows, Slot

_decode = msgspec.msgpack.Decoder(Plan).decode
_encode = msgspec.msgpack.Encoder().encode


class TimerSetter(Protocol):
    async def set(self, slot: Slot, timers: Iterable[Timer]) -> None: ...
    async def cancel(self, slot: Slot, timer_ids: Iterable[str]) -> None: ...


class Look(NamedTuple):
    """A plan whose cadence needs a timer."""

    user_id: str
    cadence: m.Cadence


class Plans:
    """Preferences and runs of a partition change the same plans: take its `lock` first."""

    def __init__(self, table: Rows, timers: TimerSetter, now_ms: Clock) -> None:
        self._table = table
        self._timers = timers
        self._now_ms = now_ms
        self.lock: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    def read(self, slot: Slot, user_id: str) -> Plan:
        raw = self._table.read(slot, user_id.encode())
        return Plan() if raw is None else _decode(raw)

    async def write(self, slot: Slot, plans: Mapping[str, Plan], looks: Iterable[Look]) -> None:
        """Store the plans, then set or cancel the timer of each look."""
        await self._table.write(slot, {user.encode(): _encode(plan) for user, plan in plans.items()})
        now_ms = self._now_ms()
        timers: dict[str, Timer] = {}
        gone: set[str] = set()
        for user_id, cadence in looks:
            timer_id = f"due|{user_id}|{cadence}"
            at_ms = look_again_at_ms(plans[user_id], cadence, now_ms)
            if at_ms is None:
                gone.add(timer_id)
            else:
                timers[timer_id] = _timer(timer_id, user_id, cadence, at_ms)
        await self._timers.set(slot, timers.values())
        await self._timers.cancel(slot, gone - timers.keys())


def _timer(timer_id: str, user_id: str, cadence: m.Cadence, at_ms: int) -> Timer:
    return Timer(
        timer_id=timer_id,
        due_at_ms=at_ms,
        topic=DIGEST_RUNS,
        key=user_id.encode(),
        value=m.encode(m.DigestDue(user_id=user_id, cadence=cadence, due_at_ms=at_ms)),
        headers=event_headers(f"{user_id}.{cadence}.{at_ms}", "digest_due"),
    )
