"""The mail part of the digests worker on stand-ins: a scripted provider, a store in memory, a clock by hand."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, cast

import msgspec

from domain.notification.answers import Accepted, Answer
from domain.notification.retry import BackOff, RetryPolicy
from schemas import messages as m
from streams.digests.digests_to_email import DigestsToEmail
from streams.digests.email_to_provider import Mailing
from streams.digests.job_work import JobWork
from streams.digests.mail.conclusion import Conclusion
from streams.digests.mail.copies import Copies, Links
from streams.digests.mail.ledger import Ledger
from streams.digests.mail.pause import Pause
from streams.digests.mail.records import EmailRecords
from streams.digests.metrics import DigestCounters
from streams.digests.report.rendered_digest import Enclosure, Mailbox, RenderedDigest
from streams.digests.waiting import Waiting
from tests.streams.digests.mail_samples import digest_of
from tests.streams.fakes import NOW_MS, FakeBatch, FakeBroker, FakeReference, FakeTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.digest.facts import Digest
    from domain.digest.jobs import Job, Readiness
    from domain.notification.request_state import RequestState
    from streams.digests.report.rendered_digest import Mail
    from streams.engine.consumer import Batch

POLICY = RetryPolicy(attempts=3, back_off=BackOff.EXPONENTIAL, base_s=2.0)
DEADLINE_MS = 24 * 3_600_000
ANN = m.Contact(user_id="ann", organization_id="org-1", name="Ann", email="ann@example.com")
RENDERED = RenderedDigest(
    subject="Daily Temperature Summary - Cold & Co",
    html="<a href='https://links.invalid/unsubscribe'>x</a>",
    text="All is well. https://links.invalid/unsubscribe",
    enclosures=(Enclosure("curve-0.png", "image/png", b"png", "curve-0"),),
)


def mail_request(user_id: str = "ann", **changes: object) -> m.EmailRequest:
    fields: dict[str, object] = {
        "request_id": f"digest-{user_id}",
        "job_id": "job-1",
        "organization_id": "org-1",
        "user_id": user_id,
        "cadence": m.Cadence.DAILY,
        "timezone": "UTC",
        "period_starts_at_ms": 0,
        "period_ends_at_ms": 86_400_000,
        "display_unit": "C",
        "requested_at_ms": NOW_MS,
    }
    return m.EmailRequest(**(fields | changes))  # type: ignore[arg-type]


class Provider:
    """Answers from a script, `Accepted` when it is through."""

    name = "scripted"

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.answers = list(answers)
        self.got: list[Mail] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.dies = False

    async def send(self, mail: Mail) -> Answer:
        self.got.append(mail)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0.001)
        self.in_flight -= 1
        if self.dies:
            raise KeyboardInterrupt
        return self.answers.pop(0) if self.answers else Accepted("250")

    async def close(self) -> None:
        pass


class Store:
    """Numbers and rendered digests in memory; `errors` are raised first, one a call of `make`."""

    def __init__(self) -> None:
        self.recorded_until = 1 << 60
        self.digests: dict[str, Digest] = {}
        self.kept: dict[tuple[str, str], RenderedDigest] = {("job-1", "C"): RENDERED}
        self.errors: list[Exception] = []
        self.render_error: Exception | None = None
        self.made: list[tuple[Job, Readiness]] = []

    async def recorded_until_ms(self) -> int:
        return self.recorded_until

    async def find(self, job_id: str) -> Digest | None:
        return self.digests.get(job_id)

    async def make(self, job: Job, units: Sequence[m.UnitConfig], readiness: Readiness, as_of_ms: int) -> Digest:
        if self.errors:
            raise self.errors.pop(0)
        self.made.append((job, readiness))
        digest = msgspec.structs.replace(digest_of(job.cadence), complete=readiness.complete)
        self.digests[job.job_id] = digest
        return digest

    async def rendered(self, job_id: str, display_unit: str) -> RenderedDigest | None:
        if self.render_error is not None:
            raise self.render_error
        if job_id in self.digests:
            self.kept[job_id, display_unit] = RENDERED
        return self.kept.get((job_id, display_unit))


class World:
    def __init__(self, *answers: Answer, people: Sequence[m.Contact] = (ANN,), wait_s: float = 60.0) -> None:
        self.now_ms = NOW_MS
        self.broker = FakeBroker()
        self.table = FakeTable()
        self.ledger = Ledger(self.table)
        self.provider = Provider(answers)
        self.store = Store()
        self.slept_s = 0.0
        contacts = FakeReference(**{contact.user_id: contact for contact in people})
        preferences = FakeReference(
            **{
                contact.user_id: m.DigestPreference(user_id=contact.user_id, organization_id="org-1")
                for contact in people
            }
        )
        self.preferences = preferences
        records = EmailRecords(self.now)
        self.conclusion = Conclusion(records=records, ledger=self.ledger, publish=self.broker.publish, now_ms=self.now)
        self.pause = Pause(self.now, self._sleep)
        self.mailing = Mailing(
            provider=self.provider,
            pause=self.pause,
            copies=Copies(
                self.store,
                contacts,
                preferences,
                Mailbox("digests@freshtrack.example.com", "FreshTrack"),
                Links("https://freshtrack.example.com", b"a secret of the tests"),
                self.now,
            ),
            conclusion=self.conclusion,
            ledger=self.ledger,
            records=records,
            publish=self.broker.publish,
            policy=POLICY,
            deadline_ms=DEADLINE_MS,
            concurrency=5,
            now_ms=self.now,
            rng=random.Random(1),
        )
        self.counters = DigestCounters()
        self.waiting = Waiting(self.store, wait_s, self.now, self._sleep)
        units = FakeReference(unit_1=m.UnitConfig(unit_id="unit-1", organization_id="org-1", name="Fridge"))
        self.jobs = DigestsToEmail(
            work=JobWork(self.store, units, self.waiting, self.broker.publish, self.counters, self.now),
            waiting=self.waiting,
            records=records,
            publish=self.broker.publish,
            counters=self.counters,
            now_ms=self.now,
            rng=random.Random(1),
        )

    def now(self) -> int:
        return self.now_ms

    async def _sleep(self, seconds: float) -> None:
        self.slept_s += seconds
        self.now_ms += round(seconds * 1000)

    def send(self, *requests: object) -> None:
        """The mails of one batch."""
        batch = FakeBatch(requests, topic="email-requests")
        asyncio.run(self.mailing.handle(cast("Batch", batch)))

    def make(self, *wanted: object, batch: FakeBatch | None = None) -> None:
        """The jobs of one batch."""
        batch = batch or FakeBatch(wanted, topic="digest-jobs")
        asyncio.run(self.jobs.handle(cast("Batch", batch)))

    def outcomes(self) -> list[str]:
        decode: msgspec.json.Decoder[m.MailOutcome] = msgspec.json.Decoder(m.MailOutcome)
        return [type(decode.decode(value)).__name__ for value in self.broker.values("email-outcomes")]

    def progress(self) -> list[str]:
        return [one.status.value for one in self.broker.decoded("digest-progress", m.DigestProgress)]

    def retries(self) -> list[m.EmailRetry]:
        return self.broker.decoded("email-retries", m.EmailRetry)

    def dead(self) -> list[m.EmailDeadLetter | m.DigestDeadLetter | m.UnreadableRecord]:
        decode: msgspec.json.Decoder[m.EmailDeadLetter | m.DigestDeadLetter | m.UnreadableRecord] = (
            msgspec.json.Decoder(m.EmailDeadLetter | m.DigestDeadLetter | m.UnreadableRecord)
        )
        return [decode.decode(value) for value in self.broker.values("email-dlq")]

    def state(self, request_id: str = "digest-ann") -> RequestState:
        return self.ledger.read(cast("Batch", FakeBatch([])), request_id).state
