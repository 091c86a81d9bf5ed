"""`digest-runs` → what is due now → `digest-jobs`, and the timers of the next runs.

After an outage exactly one digest is due: that of the newest missed period.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from domain.digest.jobs import job_of
from domain.digest.plan import Plan, asked_for_id, due, ms, newest_period, units_of, with_sent
from domain.digest.schedule import ScheduleError, digest_id
from schemas import messages as m
from schemas.headers import event_headers
from schemas.topics import DIGEST_JOBS, DIGEST_RUNS, EMAIL_DLQ
from streams.digests.plans import Look
from streams.digests.progress import progress_of
from streams.engine.decoding import decoded
from streams.engine.publish import Outgoing
from streams.engine.unreadable import dead_letter

if TYPE_CHECKING:
    from domain.digest.schedule import Run
    from streams.digests.metrics import DigestCounters
    from streams.digests.plans import Plans
    from streams.engine.consumer import Batch
    from streams.engine.interfaces import Clock, Publish

log = structlog.get_logger(__name__)


class RunsToJobs:
    def __init__(self, publish: Publish, plans: Plans, counters: DigestCounters, now_ms: Clock) -> None:
        self._publish = publish
        self._plans = plans
        self._counters = counters
        self._now_ms = now_ms

    async def handle(self, batch: Batch) -> None:
        """Publish what is due, note it in the plans, set the timers of the next runs."""
        async with self._plans.lock[batch.partition]:
            now_ms = self._now_ms()
            plans: dict[str, Plan] = {}
            looks: list[Look] = []
            runs, outgoing = decoded(batch, DIGEST_RUNS, EMAIL_DLQ, now_ms)
            for record, run in runs:
                try:
                    if isinstance(run, m.SendDigestNow):
                        plan = plans.get(run.user_id) or self._plans.read(batch, run.user_id)
                        outgoing += self._job(asked_for(run, units_of(plan.preference, run.cadence)), now_ms)
                        continue
                    plan = plans.get(run.user_id) or self._plans.read(batch, run.user_id)
                    found = due(plan, run.cadence, now_ms)
                except ScheduleError as error:
                    outgoing.append(dead_letter(record, EMAIL_DLQ, str(error), now_ms))
                    continue
                if found is not None:
                    assert plan.preference is not None
                    outgoing += self._job(regular(plan.preference, found), now_ms)
                    plan = with_sent(plan, found)
                plans[run.user_id] = plan
                looks.append(Look(run.user_id, run.cadence))
            await self._publish(outgoing)
            await self._plans.write(batch, plans, looks)

    def _job(self, wanted: m.DigestWanted, now_ms: int) -> tuple[Outgoing, Outgoing]:
        log.info("digest.due", user=wanted.user_id, cadence=wanted.cadence, run_on=wanted.run_on)
        self._counters.due += 1
        period = job_of(wanted).period
        return (
            Outgoing(
                DIGEST_JOBS,
                wanted.organization_id.encode(),
                m.encode(wanted),
                event_headers(wanted.digest_id, "digest_wanted"),
            ),
            progress_of(wanted, period, m.DigestStatus.DUE, now_ms),
        )


def regular(preference: m.DigestPreference, run: Run) -> m.DigestWanted:
    return m.DigestWanted(
        digest_id=digest_id(preference.user_id, run.period),
        organization_id=preference.organization_id,
        user_id=preference.user_id,
        cadence=run.period.cadence,
        timezone=preference.timezone,
        run_on=run.period.until.isoformat(),
        due_at_ms=ms(run.at),
        display_unit=preference.display_unit,
        unit_ids=units_of(preference, run.period.cadence),
    )


def asked_for(order: m.SendDigestNow, unit_ids: tuple[str, ...]) -> m.DigestWanted:
    """Raises ScheduleError for a timezone that is unknown here."""
    period = newest_period(order.cadence, order.timezone, order.requested_at_ms)
    return m.DigestWanted(
        digest_id=asked_for_id(order.command_id),
        organization_id=order.organization_id,
        user_id=order.user_id,
        cadence=order.cadence,
        timezone=order.timezone,
        run_on=period.until.isoformat(),
        due_at_ms=order.requested_at_ms,
        display_unit=order.display_unit,
        unit_ids=unit_ids,
        asked_for=True,
    )
