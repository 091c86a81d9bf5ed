"""A critical page that the SMS provider has not accepted in time reaches its people by e-mail as well.

Nothing is written for a page that leaves at once. One that waits for its turn here is watched in memory: whoever takes
the partition over reads the record again, and watches in turn. One that was deferred for longer has a durable timer.
"""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING

import msgspec
import structlog

from domain.notification.request_state import RequestState
from schemas import messages as m
from schemas.headers import event_headers
from schemas.topics import SMS_RETRIES
from streams.engine.consumer import Stale
from streams.engine.publish import PublishError
from streams.engine.timers import Timer
from streams.notifications.windows import is_aside

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.engine.interfaces import Clock, Entries, Publish, Slot
    from streams.engine.publish import Outgoing
    from streams.engine.timers import Timers
    from streams.notifications.closed_alerts import Closed
    from streams.notifications.consequences import Follows
    from streams.notifications.job import Job
    from streams.notifications.ledger import Entry, Ledger
    from streams.notifications.page_emails import PageEmails

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.5


class SecondWay:
    """`mailed` counts pages that went by e-mail."""

    def __init__(
        self,
        *,
        emails: PageEmails,
        ledger: Ledger,
        closed: Closed,
        contacts: Entries[m.Contact],
        organizations: Entries[m.Organization],
        timers: Timers,
        publish: Publish,
        now_ms: Clock,
    ) -> None:
        self._emails = emails
        self._ledger = ledger
        self._closed = closed
        self._contacts = contacts
        self._organizations = organizations
        self._timers = timers
        self._publish = publish
        self._now_ms = now_ms
        self._watched: list[tuple[int, int, Job]] = []
        self._count = 0
        self.mailed = 0

    def watch(self, jobs: Iterable[Job]) -> None:
        """Pages that wait in this worker from now on."""
        for job in jobs:
            if is_page(job.request):
                self._count += 1
                heapq.heappush(self._watched, (self._due_at_ms(job.request), self._count, job))

    async def run(self) -> None:
        """Look at what waits, until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """E-mail the pages that have waited long enough."""
        late = []
        while self._watched and (self._watched[0][2].settled.done() or self._watched[0][0] <= self._now_ms()):
            _, number, job = heapq.heappop(self._watched)
            if not job.settled.done():
                late.append((number, job))
        for number, job in late:
            try:
                await self._mail(job.batch, job.request)
            except (Stale, PublishError) as error:
                # The next owner reads the page again; if that is us, we look again soon.
                log.warning("page_email.put_off", request=job.request.request_id, why=repr(error))
                if job.is_wanted:
                    heapq.heappush(self._watched, (self._now_ms() + round(LOOK_EVERY_S * 1000), number, job))

    async def overdue(self, slot: Slot, overdue: m.PageOverdue) -> None:
        """The timer of a deferred page."""
        await self._mail(slot, overdue.request)

    async def beside(self, slot: Slot, request: m.SmsRequest, entry: Entry, follows: Follows) -> Entry:
        """What a decision about a page means for its e-mail: with one that is given up it leaves at once.

        The caller holds the user's lock, and publishes what this adds to `follows`.
        """
        if entry.mailed or not is_page(request):
            return entry
        if follows.state is RequestState.CLOSED and follows.gives_up:
            follows.outgoing.extend(self._records(request, m.PageEmailCause.SMS_IMPOSSIBLE))
            return msgspec.structs.replace(entry, mailed=True)
        due_at_ms = self._due_at_ms(request)
        if follows.due_at_ms is not None and follows.due_at_ms > due_at_ms:
            await self._timers.set(slot, [_timer(request, due_at_ms)])
        return entry

    async def _mail(self, slot: Slot, request: m.SmsRequest) -> None:
        async with self._ledger.lock(request.user_id):
            entry = self._ledger.entry(slot, request.request_id).of(request)
            if entry.mailed or entry.state.settled or not slot.still_ours():
                return
            if self._closed.why_closed(request.alert_id, request.severity, self._now_ms()) is not None:
                return
            await self._publish(self._records(request, m.PageEmailCause.SMS_NOT_ACCEPTED))
            change = self._ledger.change(slot)
            change.entry(request.request_id, msgspec.structs.replace(entry, mailed=True))
            await change.write()
            self.mailed += 1
            log.warning("page_email.requested", request=request.request_id, user=request.user_id)

    def _records(self, request: m.SmsRequest, because: m.PageEmailCause) -> list[Outgoing]:
        contact = self._contacts.get(request.user_id)
        if contact is not None and contact.email:
            return [self._emails.beside(request, request.user_id, because)]
        organization = self._organizations.get(request.organization_id)
        text = f"{request.text} Neither SMS nor e-mail reaches {request.user_id}."
        records = [self._emails.notice(request, because.value, text)]
        if organization is not None and organization.fallback_user_id is not None:
            records.append(self._emails.beside(request, organization.fallback_user_id, m.PageEmailCause.NOBODY_LEFT))
        return records

    def _due_at_ms(self, request: m.SmsRequest) -> int:
        return request.requested_at_ms + round(self._emails.wait_s * 1000)


def is_page(request: m.SmsRequest) -> bool:
    """Whether it tells of a critical alert that goes on."""
    return request.severity is m.Severity.CRITICAL and not is_aside(request)


def page_email_id(request_id: str) -> str:
    """The timer that looks whether a deferred page was accepted."""
    return f"page-email.{request_id}"


def _timer(request: m.SmsRequest, due_at_ms: int) -> Timer:
    return Timer(
        timer_id=page_email_id(request.request_id),
        due_at_ms=due_at_ms,
        topic=SMS_RETRIES,
        key=request.user_id.encode(),
        value=m.encode(m.PageOverdue(request=request)),
        headers=event_headers(f"{request.request_id}.{request.redrives}.overdue", "page_overdue"),
    )
