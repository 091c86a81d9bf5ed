"""`email-requests` → the provider → `email-outcomes`, `email-retries`, `email-dlq`.

Every attempt is in the ledger, and its `email_sending` outcome at the broker, before the mail leaves. So whoever reads
a request again knows whether it was sent, and after a crash in between says `email_unknown`. It then sends the mail
once more, whatever the provider: none of the four can be asked about a mail by our own id, but all of them pass on the
Message-ID, which is made of the digest's id and is the same in every attempt, so mailboxes know the copy as one.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from domain.digest.unsubscribe import token
from domain.notification.decisions import Cancelled, Deferred, RetryAt
from domain.notification.request_state import Standing
from schemas import messages as m
from streams.digests.mail.answers import Taken, Unanswered
from streams.digests.mail.decisions import DEFERRAL_MS, DeadMail, DeadReason, after_answer, hindrance
from streams.digests.report.render import TooLongError
from streams.digests.report.rendered_digest import AddressError, Mail, Mailbox, RenderedDigest, copy_for
from streams.engine.consumer import Stale
from streams.engine.database_away import is_away

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence

    from streams.digests.mail.answers import Provider
    from streams.digests.mail.decisions import Decision
    from streams.digests.mail.ledger import Entry, Ledger
    from streams.digests.mail.records import EmailRecords
    from streams.engine.consumer import Batch, Record
    from streams.engine.publish import Outgoing

log = structlog.get_logger(__name__)

_decode = msgspec.json.Decoder(m.EmailRequest).decode


class Contacts(Protocol):
    def get(self, entry_id: str) -> m.Contact | None: ...


class Preferences(Protocol):
    def get(self, entry_id: str) -> m.DigestPreference | None: ...


class RenderedDigests(Protocol):
    async def rendered(self, job_id: str, display_unit: str) -> RenderedDigest | None: ...


class Links(msgspec.Struct, frozen=True):
    """Where a mail's links lead: `public_url` is the API's address as recipients reach it."""

    public_url: str
    secret: bytes

    def unsubscribe(self, user_id: str, cadence: m.Cadence) -> str:
        return f"{self.public_url}/unsubscribe/{token(self.secret, user_id, cadence)}"


class Mailing:
    """Sends at most `concurrency` mails at a time, each user's in order."""

    def __init__(
        self,
        *,
        provider: Provider,
        digests: RenderedDigests,
        contacts: Contacts,
        preferences: Preferences,
        ledger: Ledger,
        records: EmailRecords,
        publish: Callable[[Sequence[Outgoing]], Awaitable[None]],
        sender: Mailbox,
        links: Links,
        concurrency: int,
        now_ms: Callable[[], int],
        rng: random.Random,
    ) -> None:
        self._provider = provider
        self._digests = digests
        self._contacts = contacts
        self._preferences = preferences
        self._ledger = ledger
        self._records = records
        self._publish = publish
        self._sender = sender
        self._links = links
        self._places = asyncio.Semaphore(concurrency)
        self._now_ms = now_ms
        self._rng = rng
        self._told: set[str] = set()
        self.decided: Counter[str] = Counter()
        self.active = 0

    async def handle(self, batch: Batch) -> None:
        by_user: defaultdict[str, list[tuple[m.EmailRequest, Record]]] = defaultdict(list)
        for record in batch.records:
            try:
                request = _decode(record.value or b"")
            except msgspec.MsgspecError as error:
                await self._publish(self._records.unreadable(record, str(error)))
                continue
            by_user[request.user_id].append((request, record))
        # Each finishes what it has begun: a mail that is cancelled half-way may have been sent all the same.
        ends = await asyncio.gather(
            *(self._in_order(batch, requests) for requests in by_user.values()), return_exceptions=True
        )
        failures = [end for end in ends if isinstance(end, BaseException)]
        failures.sort(key=lambda failure: isinstance(failure, Stale))
        if failures:
            raise failures[0]

    async def _in_order(self, batch: Batch, requests: list[tuple[m.EmailRequest, Record]]) -> None:
        for request, record in requests:
            async with self._places:
                if batch.must_end():
                    # What was not tried goes back, and is sent by the next owner.
                    raise Stale
                self.active += 1
                try:
                    await self._deliver(batch, request, record)
                finally:
                    self.active -= 1

    async def _deliver(self, batch: Batch, request: m.EmailRequest, record: Record) -> None:
        entry = self._ledger.read(batch, request.request_id)
        if not entry.may_try(request):
            return
        mail = await self._mail(request)
        if not isinstance(mail, Mail):
            await self._conclude(batch, request, record, entry, request.attempts, mail)
            return
        attempt = request.attempts + 1
        if entry.standing is Standing.SENDING and entry.redrives == request.redrives:
            # Somebody died between handing the mail over and writing the answer down.
            await self._publish(self._records.unknown(request, attempt, mail.message_id))
        entry = entry.moved(Standing.SENDING, attempt, request.redrives, self._now_ms())
        await asyncio.gather(
            self._publish(self._records.sending(request, attempt)),
            self._ledger.write(batch, request.request_id, entry, durable=True),
        )
        if not batch.still_ours():
            raise Stale
        answer = await self._provider.send(mail)
        if isinstance(answer, Unanswered) and answer.may_have_arrived:
            await self._publish(self._records.unknown(request, attempt, mail.message_id))
        decision = after_answer(answer, attempt=attempt, now_ms=self._now_ms(), rng=self._rng)
        await self._conclude(batch, request, record, entry, attempt, decision, mail.message_id)

    async def _mail(self, request: m.EmailRequest) -> Mail | Cancelled | Deferred | DeadMail:
        """The recipient's copy of the job's rendered digest, or why there is none."""
        contact = self._contacts.get(request.user_id)
        if stop := hindrance(request, contact, self._preferences.get(request.user_id)):
            return stop
        assert contact is not None
        assert contact.email is not None
        try:
            rendered = await self._digests.rendered(request.job_id, request.display_unit)
        except TooLongError as error:
            return DeadMail(DeadReason.MESSAGE, "too_long", str(error))
        except Exception as error:
            if not is_away(error):
                raise
            return Deferred(self._now_ms() + DEFERRAL_MS, "database_away", repr(error).partition("\n")[0][:500])
        if rendered is None:
            return DeadMail(
                DeadReason.NO_LETTER, "no_letter", f"the rendered digest of job {request.job_id} is no longer stored"
            )
        try:
            return copy_for(
                rendered,
                mail_id=request.request_id,
                sender=self._sender,
                recipient=Mailbox(contact.email, contact.name),
                unsubscribe_url=self._links.unsubscribe(request.user_id, request.cadence),
                # The web page shows who takes which summary, and changes it for whoever may.
                preferences_url=self._links.public_url,
            )
        except AddressError as error:
            return DeadMail(DeadReason.BAD_ADDRESS, "bad_address", str(error))

    async def _conclude(
        self,
        batch: Batch,
        request: m.EmailRequest,
        record: Record,
        entry: Entry,
        attempt: int,
        decision: Decision,
        message_id: str = "",
    ) -> None:
        """Publish the decision, then write it to the ledger."""
        about = {"request": request.request_id, "user": request.user_id, "attempt": attempt}
        match decision:
            case Taken(provider_message_id):
                outgoing = self._records.sent(request, attempt, provider_message_id, message_id)
                standing = Standing.SENT
                self._told.clear()
                log.info("email.sent", **about)
            case Cancelled(because):
                outgoing = self._records.cancelled(request, decision)
                standing = Standing.CLOSED
                log.info("email.cancelled", because=because, **about)
            case DeadMail(reason, error_code, error):
                outgoing = self._records.dead(request, attempt, decision, record)
                standing = Standing.CLOSED
                log.error("email.dead", reason=reason, code=error_code, error=error, **about)
            case RetryAt(due_at_ms, error_code, error):
                outgoing = self._records.retry(request, attempt, due_at_ms, decision, record)
                standing = Standing.WAITING
                log.warning("email.retry", due_at_ms=due_at_ms, code=error_code, error=error, **about)
            case Deferred(until_at_ms, error_code, error):
                # No attempt is used up: the same one comes again.
                attempt = request.attempts
                outgoing = self._records.retry(request, attempt, until_at_ms, decision, record)
                standing = Standing.WAITING
                # Ops is told once, not by each of hundreds of mails every minute; the metric counts them.
                tell = log.info if error_code in self._told else log.error
                self._told.add(error_code)
                tell("email.deferred", due_at_ms=until_at_ms, code=error_code, error=error, **about)
        await self._publish(outgoing)
        entry = entry.moved(standing, attempt, request.redrives, self._now_ms())
        await self._ledger.write(batch, request.request_id, entry)
        self.decided[type(decision).__name__] += 1
