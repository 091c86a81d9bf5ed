"""`digest-preferences` → one durable timer a user and cadence → `digest-runs`.

A timer only says when to look. Whether a digest is due, and for which period, is decided from the user's plan once the
timer has fired (`runs_to_jobs`), so changes made in between count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from domain.digest.plan import Plan, look_again_at_ms, with_preference
from domain.digest.schedule import ScheduleError
from schemas import messages as m
from schemas.topics import DIGEST_PREFERENCES, EMAIL_DLQ
from streams.digests.plans import Look
from streams.engine.unreadable import dead_letter

if TYPE_CHECKING:
    from streams.digests.plans import Plans
    from streams.engine.consumer import Batch, Record
    from streams.engine.interfaces import Clock, Publish
    from streams.engine.publish import Outgoing


class PreferencesToRuns:
    def __init__(self, publish: Publish, plans: Plans, now_ms: Clock) -> None:
        self._publish = publish
        self._plans = plans
        self._now_ms = now_ms

    async def handle(self, batch: Batch) -> None:
        """Update the plans and set their timers; a deleted or paused preference has none."""
        async with self._plans.lock[batch.partition]:
            plans: dict[str, Plan] = {}
            refused: list[Outgoing] = []
            for record in batch.records:
                try:
                    self._take(batch, record, plans)
                except (msgspec.MsgspecError, ScheduleError) as error:
                    refused.append(dead_letter(record, EMAIL_DLQ, str(error), self._now_ms()))
            await self._publish(refused)
            looks = [Look(user_id, cadence) for user_id in plans for cadence in m.Cadence]
            await self._plans.write(batch, plans, looks)

    def _take(self, batch: Batch, record: Record, plans: dict[str, Plan]) -> None:
        user_id = (record.key or b"").decode(errors="replace")
        preference = None if record.value is None else DIGEST_PREFERENCES.decode(record.value)
        plan = plans.get(user_id) or self._plans.read(batch, user_id)
        # A plan that already contains the record may still lack its timers.
        if record.offset > plan.offset:
            plan = with_preference(plan, preference, record.offset, record.timestamp)
            for cadence in m.Cadence:
                # Refuses a timezone that is unknown here, before the plan is stored.
                look_again_at_ms(plan, cadence, record.timestamp)
        plans[user_id] = plan
