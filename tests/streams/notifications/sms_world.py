"""The SMS part of the notifications worker on stand-ins: a scripted provider, tables in memory, a clock by hand."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import msgspec

from domain.notification.answers import Accepted, Answer, Refused, Unanswered
from domain.notification.receipts import Waits
from domain.notification.retry import BackOff, RetryPolicy
from schemas import messages as m
from schemas.topics import SMS_CRITICAL
from streams.engine.timers import Timers
from streams.notifications.page_emails import PageEmails
from streams.notifications.rate_limiter import Limits
from streams.notifications.sms_policy import SmsPolicy
from streams.notifications.stages import Surroundings, build_stages
from streams.notifications.telnyx.codes import delivery_failed
from tests.streams.fakes import NOW_MS, FakeBatch, FakeBroker, FakeReference, FakeTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from domain.notification.request_state import RequestState
    from streams.engine.consumer import Batch
    from streams.notifications.provider import ProviderStatus, Sms

ADA = m.Contact(user_id="user-1", organization_id="org-1", name="Ada", phone_e164="+12025550101")
BEN = m.Contact(user_id="user-2", organization_id="org-1", name="Ben", phone_e164="+12025550102")
ORGANIZATION = m.Organization(organization_id="org-1", name="Org")
ACCEPTED = Accepted("message-1", 1)
NO_LIMITS = Limits(partitions=1, per_second=100_000, cap=1_000, per_worker=10)


def sms_policy(**changes: object) -> SmsPolicy:
    """The defaults of the settings, with `changes`."""
    policy = SmsPolicy(
        window_ms=900_000,
        strict=False,
        gather_ms=20_000,
        most_critical=4,
        late_ms=300_000,
        receipts=False,
        waits=Waits(20_000, 300_000),
        retry=RetryPolicy(attempts=3, back_off=BackOff.EXPONENTIAL, base_s=1.0),
        deadlines_ms={m.Severity.CRITICAL: 14_400_000, m.Severity.WARNING: 3_600_000, m.Severity.INFO: 1_800_000},
    )
    return msgspec.structs.replace(policy, **changes)


class Provider:
    """Answers from a script, `Accepted` when it is through."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.got: list[Sms] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.known: ProviderStatus | Refused | Unanswered | None = None

    async def send(self, sms: Sms) -> Answer:
        self.got.append(sms)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0.002)
        self.in_flight -= 1
        return self.answers.pop(0) if self.answers else ACCEPTED

    async def status(self, provider_message_id: str) -> ProviderStatus | Refused | Unanswered:
        assert self.known is not None
        return self.known

    def delivery_failed(self, error_code: str | None) -> Refused:
        return delivery_failed(error_code)


class ClosedByHand:
    """What was acknowledged, resolved or silenced, as the test says."""

    def __init__(self) -> None:
        self.closed: dict[str, str] = {}
        self.silent_until_ms: dict[str, int] = {}
        self.published: dict[str, str] = {}
        self.acknowledged_at: dict[str, int] = {}

    def why_closed(self, alert_id: str, severity: m.Severity, now_ms: int) -> str | None:
        return self.closed.get(alert_id)

    def acknowledged_at_ms(self, alert_id: str) -> int | None:
        return self.acknowledged_at.get(alert_id)

    def silenced_until_ms(self, alert_id: str) -> int | None:
        return self.silent_until_ms.get(alert_id)

    async def up_to_date(self) -> None:
        """What was published and not read yet is read now."""
        self.closed |= self.published


class World:
    def __init__(
        self,
        *answers: Answer,
        limits: Limits = NO_LIMITS,
        policy: SmsPolicy | None = None,
        people: Sequence[m.Contact] = (ADA, BEN),
        organization: m.Organization = ORGANIZATION,
    ) -> None:
        policy = policy or sms_policy()
        self.now_ms = NOW_MS
        self.broker = FakeBroker()
        self.table = FakeTable()
        self.timer_table = FakeTable()
        self.provider = Provider(*answers)
        self.closed = ClosedByHand()
        self.stages = build_stages(
            Surroundings(
                provider=self.provider,
                table=self.table,
                timers=Timers(self.timer_table, self.broker.publish, self.now),
                contacts=FakeReference(**{contact.user_id: contact for contact in people}),
                organizations=FakeReference(org_1=organization),
                emails=PageEmails(self.now, 60.0),
                closed=self.closed,
                publish=self.broker.publish,
                policy=policy,
                now_ms=self.now,
                rng=random.Random(1),
            ),
            limits=limits,
            owned=lambda: [0],
            polls_at_once=5,
        )
        self.ledger = self.stages.ledger
        self.limiter = self.stages.limiter
        # Its share is usable at once: what a first assignment waits for is tested with the limiter.
        self.limiter._shares = msgspec.structs.replace(self.limiter._shares, usable_from_ms={0: 0.0})

    def now(self) -> int:
        return self.now_ms

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """The loop that sends runs."""
        loop = asyncio.create_task(self.stages.sms.run())
        try:
            yield
        finally:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)

    async def handle(self, *requests: object) -> None:
        await self.handle_batch(FakeBatch(requests))

    async def handle_batch(self, batch: FakeBatch) -> None:
        async with self.sending(), asyncio.timeout(10):
            await self.feed(batch)

    async def feed(self, batch: FakeBatch) -> None:
        await self.stages.sms.handle(SMS_CRITICAL, cast("Batch", batch))

    async def report(self, *receipts: object) -> None:
        await self.stages.receipts.handle(cast("Batch", FakeBatch(receipts)))

    @property
    def outcomes(self) -> list[str]:
        return [msgspec.json.decode(value)["type"] for value in self.broker.values("sms-outcomes")]

    def outcomes_of(self, number: int) -> list[str]:
        decoded = [msgspec.json.decode(value) for value in self.broker.values("sms-outcomes")]
        return [outcome["type"] for outcome in decoded if outcome["request_id"] == f"request-{number}"]

    @property
    def texts(self) -> list[str]:
        return [sms.text for sms in self.provider.got]

    def retries(self) -> list[m.SmsRetry]:
        return self.broker.decoded("sms-retries", m.SmsRetry)

    def state(self, request_id: str = "request-1") -> RequestState:
        return self.ledger.entry(cast("Batch", FakeBatch([])), request_id).state


def request(number: int = 1, user_id: str = "user-1", **changes: object) -> m.SmsRequest:
    """A request of an alert of its own; its kind makes it independent of the others' rate windows only by user."""
    made = m.SmsRequest(
        request_id=f"request-{number}",
        alert_id=f"alert-{number}",
        unit_id="unit-1",
        organization_id="org-1",
        user_id=user_id,
        kind=m.AlertKind.TEMPERATURE_HIGH,
        severity=m.Severity.CRITICAL,
        text=f"text {number}",
        breach_at_ms=NOW_MS,
        requested_at_ms=NOW_MS,
    )
    return msgspec.structs.replace(made, **changes)
