"""`digest-preferences` → one durable timer a user and cadence → `digest-runs` → `digest-jobs`.

A timer only says that it is time to look. Whether something is due, and for which period, is decided from the user's
plan when the timer has fired, so a change that came in between counts. After an outage that is one summary, of the
newest period that was missed.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from domain.digest.plan import Plan, asked_for_id, due, look_again_at_ms, ms, newest_period, with_preference, with_sent
from domain.digest.schedule import ScheduleError, digest_id
from schemas import messages as m
from schemas.topics import DIGEST_JOBS, DIGEST_RUNS, EMAIL_DLQ
from streams.digests.progress import progress_of
from streams.engine.publish import Outgoing
from streams.engine.timers import Timer
from streams.engine.unreadable import dead_letter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from domain.digest.schedule import Period
    from streams.engine.consumer import Batch, Record
    from streams.engine.interfaces import Slot

log = structlog.get_logger(__name__)

_decode_preference = msgspec.json.Decoder(m.DigestPreference).decode
_decode_run: msgspec.json.Decoder[m.DigestRun] = msgspec.json.Decoder(m.DigestRun)
_decode_plan = msgspec.msgpack.Decoder(Plan).decode
_encode_plan = msgspec.msgpack.Encoder().encode


class Table(Protocol):
    def read(self, slot: Slot, key: bytes) -> bytes | None: ...
    async def write(self, slot: Slot, items: Mapping[bytes, bytes | None], *, durable: bool = False) -> None: ...


class TimerSetter(Protocol):
    async def set(self, slot: Slot, timers: Iterable[Timer]) -> None: ...
    async def cancel(self, slot: Slot, timer_ids: Iterable[str]) -> None: ...


class DigestsDue:
    """Keeps a plan for each user, in the partition of the user."""

    def __init__(
        self,
        publish: Callable[[Sequence[Outgoing]], Awaitable[None]],
        plans: Table,
        timers: TimerSetter,
        topic_name: Callable[[str], str],
        now_ms: Callable[[], int],
    ) -> None:
        self._publish = publish
        self._plans = plans
        self._timers = timers
        self._topic_name = topic_name
        self._now_ms = now_ms
        # Preferences and runs of a partition change the same plans.
        self._one_at_a_time: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.due = 0

    async def take_preferences(self, batch: Batch) -> None:
        """Write the plans anew and set their timers; a preference that is gone or paused has none."""
        async with self._one_at_a_time[batch.partition]:
            plans: dict[str, Plan] = {}
            refused: list[Outgoing] = []
            for record in batch.records:
                try:
                    self._take_preference(batch, record, plans)
                except (msgspec.MsgspecError, ScheduleError) as error:
                    refused.append(self._unusable(record, str(error)))
            await self._publish(refused)
            await self._plans.write(batch, {user.encode(): _encode_plan(plan) for user, plan in plans.items()})
            looks = [(user, cadence, plan) for user, plan in plans.items() for cadence in m.Cadence]
            await self._set_timers(batch, looks)

    def _take_preference(self, batch: Batch, record: Record, plans: dict[str, Plan]) -> None:
        user_id = (record.key or b"").decode(errors="replace")
        preference = None if record.value is None else _decode_preference(record.value)
        plan = plans.get(user_id) or self._plan(batch, user_id)
        # A record that is read again is in the plan already; its timers may not be set yet.
        if record.offset > plan.offset:
            plan = with_preference(plan, preference, record.offset, record.timestamp)
            for cadence in m.Cadence:
                look_again_at_ms(plan, cadence, record.timestamp)
        plans[user_id] = plan

    async def take_runs(self, batch: Batch) -> None:
        """Say what is due, note it in the plans, set the timers of the next runs."""
        async with self._one_at_a_time[batch.partition]:
            now_ms = self._now_ms()
            plans: dict[str, Plan] = {}
            looks: list[tuple[str, m.Cadence, Plan]] = []
            outgoing: list[Outgoing] = []
            for record in batch.records:
                try:
                    run = _decode_run.decode(record.value or b"")
                    if isinstance(run, m.SendDigestNow):
                        outgoing += self._asked_for(run, now_ms)
                        continue
                    plan = plans.get(run.user_id) or self._plan(batch, run.user_id)
                    found = due(plan, run.cadence, now_ms)
                except (msgspec.MsgspecError, ScheduleError) as error:
                    outgoing.append(self._unusable(record, str(error)))
                    continue
                if found is not None:
                    assert plan.preference is not None
                    outgoing += self._wanted(plan.preference, found.period, ms(found.at), now_ms)
                    plan = with_sent(plan, found)
                plans[run.user_id] = plan
                looks.append((run.user_id, run.cadence, plan))
            await self._publish(outgoing)
            await self._plans.write(batch, {user.encode(): _encode_plan(plan) for user, plan in plans.items()})
            await self._set_timers(batch, [(user, cadence, plans[user]) for user, cadence, _ in looks])

    def _plan(self, slot: Slot, user_id: str) -> Plan:
        raw = self._plans.read(slot, user_id.encode())
        return Plan() if raw is None else _decode_plan(raw)

    def _wanted(
        self, preference: m.DigestPreference, period: Period, due_at_ms: int, now_ms: int
    ) -> tuple[Outgoing, Outgoing]:
        wanted = m.DigestWanted(
            digest_id=digest_id(preference.user_id, period),
            organization_id=preference.organization_id,
            user_id=preference.user_id,
            cadence=period.cadence,
            timezone=preference.timezone,
            run_on=period.until.isoformat(),
            due_at_ms=due_at_ms,
            display_unit=preference.display_unit,
        )
        log.info("digest.due", user=wanted.user_id, cadence=wanted.cadence, run_on=wanted.run_on)
        return self._outgoing(wanted, period, now_ms)

    def _asked_for(self, order: m.SendDigestNow, now_ms: int) -> tuple[Outgoing, Outgoing]:
        period = newest_period(order.cadence, order.timezone, order.requested_at_ms)
        wanted = m.DigestWanted(
            digest_id=asked_for_id(order.command_id),
            organization_id=order.organization_id,
            user_id=order.user_id,
            cadence=order.cadence,
            timezone=order.timezone,
            run_on=period.until.isoformat(),
            due_at_ms=order.requested_at_ms,
            display_unit=order.display_unit,
            asked_for=True,
        )
        return self._outgoing(wanted, period, now_ms)

    def _outgoing(self, wanted: m.DigestWanted, period: Period, now_ms: int) -> tuple[Outgoing, Outgoing]:
        self.due += 1
        headers = (("id", wanted.digest_id.encode()), ("type", b"digest_wanted"))
        return (
            Outgoing(self._topic_name(DIGEST_JOBS.name), wanted.organization_id.encode(), m.encode(wanted), headers),
            progress_of(wanted, period, m.DigestStatus.DUE, now_ms, self._topic_name),
        )

    async def _set_timers(self, slot: Slot, looks: Sequence[tuple[str, m.Cadence, Plan]]) -> None:
        now_ms = self._now_ms()
        timers: dict[str, Timer] = {}
        gone: set[str] = set()
        for user_id, cadence, plan in looks:
            timer_id = f"due|{user_id}|{cadence}"
            at_ms = look_again_at_ms(plan, cadence, now_ms)
            if at_ms is None:
                gone.add(timer_id)
                continue
            look = m.DigestDue(user_id=user_id, cadence=cadence, due_at_ms=at_ms)
            headers = (("id", f"{user_id}.{cadence}.{at_ms}".encode()), ("type", b"digest_due"))
            timers[timer_id] = Timer(
                timer_id=timer_id,
                due_at_ms=at_ms,
                topic=self._topic_name(DIGEST_RUNS.name),
                key=user_id.encode(),
                value=m.encode(look),
                headers=headers,
            )
        await self._timers.set(slot, timers.values())
        await self._timers.cancel(slot, gone - timers.keys())

    def _unusable(self, record: Record, why: str) -> Outgoing:
        return dead_letter(record, self._topic_name(EMAIL_DLQ.name), why, self._now_ms())
