"""The real flows of the notifications worker around a broker, a provider and a clock of their own, in virtual time.

A topic is one partition, read and committed as the engine does it. `kill` ends the worker in the midst of something:
what it had published and written stays, and the next one reads again what was not committed.
"""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from unittest.mock import patch

import msgspec

from broker.settings import KafkaSettings
from domain.notification.answers import Accepted, NoAnswer, Refused, Unanswered
from domain.notification.error_class import ErrorClass
from domain.notification.escalation import Times
from schemas import messages as m
from schemas import topics as t
from schemas.messages import encode
from streams.engine import timers as engine_timers
from streams.engine.consumer import Stale
from streams.engine.timers import Timers
from streams.notifications import rate_limiter, second_way, waiting_room
from streams.notifications.alert_commands_to_sms import AlertCommands
from streams.notifications.alert_texts import AlertTexts
from streams.notifications.alerts_to_sms import Paging
from streams.notifications.chain_times import ChainTimes
from streams.notifications.closed_alerts import ClosedAlerts
from streams.notifications.contact_changes import ContactChanges
from streams.notifications.escalation_states import EscalationStates
from streams.notifications.escalations_to_sms import Reminders
from streams.notifications.fallback import Fallback
from streams.notifications.page_emails import PageEmails
from streams.notifications.provider import ProviderStatus
from streams.notifications.stages import Surroundings, build_stages
from streams.notifications.telnyx.codes import delivery_failed
from tests.simulation.loop import SimLoop
from tests.simulation.schedules import Fifo
from tests.streams.fakes import NOW_MS, FakeBatch, FakeRecord, FakeReference, FakeTable
from tests.streams.notifications.sms_world import NO_LIMITS, sms_policy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from domain.notification.answers import Answer
    from schemas.topic import AnyTopic
    from streams.engine.publish import Outgoing
    from streams.notifications.provider import Sms

ORGANIZATION = "org-1"
LAPSE_MS = 4 * 3_600_000
TIMES = Times(15 * 60_000, 30 * 60_000, LAPSE_MS, 60_000)
LANES = tuple(t.SMS_LANES.values())
RESTART_S = 5.0
# The loops of the worker look again so often when nothing happens: a clock of one's own need not hurry.
PATIENCE = (
    (second_way, "LOOK_EVERY_S", 5.0),
    (waiting_room, "IDLE_S", 60.0),
    (rate_limiter, "LOOK_AGAIN_S", 1.0),
    (engine_timers, "LOOK_AGAIN_S", 600.0),
)


class Watcher(Protocol):
    """What is told of all that others can see: records that reach the broker, and SMS that reach the provider."""

    def published(self, topic: str, message: object) -> None: ...
    def left(self, sms: Sms, answer: Answer) -> None: ...


class TableOf:
    """The table as one worker has it: whoever was killed writes no more."""

    def __init__(self, world: PagingWorld, table: FakeTable) -> None:
        self._world, self._table, self._worker = world, table, world.worker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    async def write(self, slot: object, items: Mapping[bytes, bytes | None], *, durable: bool = False) -> None:
        self._world.check(self._worker)
        await self._table.write(slot, items, durable=durable)

    async def delete_unchanged(self, slot: object, judged: Mapping[bytes, bytes]) -> int:
        self._world.check(self._worker)
        return await self._table.delete_unchanged(slot, judged)


class Followed(ClosedAlerts):
    """It reads once a second, and when it is asked for everything: nothing is known earlier by chance."""

    def __init__(self, world: PagingWorld) -> None:
        super().__init__(KafkaSettings(), world.now_ms, LAPSE_MS)
        self._world = world
        self._taken = dict.fromkeys((t.ALERTS.name, t.ALERT_COMMANDS.name), 0)

    async def up_to_date(self, limit_s: float = 2.0) -> None:
        for topic, taken in self._taken.items():
            records = self._world.logs[topic]
            for record in records[taken:]:
                self.take(record)
            self._taken[topic] = len(records)

    async def follow(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            await self.up_to_date()


class Provider:
    """`mood`: "well", "unavailable" (503), "away" (no connection), "silent" (nothing arrives, no answer), "refuses"
    (a code that says to try again) or "forgets" (takes it and answers nothing).
    """

    def __init__(self, world: PagingWorld) -> None:
        self._world = world
        self.mood = "well"
        self.dead_numbers: set[str] = set()
        self.undelivered = False
        self._count = 0

    async def send(self, sms: Sms) -> Answer:
        answer, world, worker = self._answer(sms), self._world, self._world.worker
        world.watcher.left(sms, answer)
        if isinstance(answer, Accepted) and world.receipts and sms.ids is not None:
            for status in ("sent", "delivery_failed" if self.undelivered else "delivered"):
                receipt = m.DeliveryReceipt(
                    event_id=f"{answer.provider_message_id}.{status}",
                    user_id=sms.ids.user,
                    occurred_at_ms=world.now_ms(),
                    request_id=sms.ids.request,
                    attempt_id=sms.ids.attempt,
                    provider_message_id=answer.provider_message_id,
                    status=status,
                )
                world.loop.call_later(2.0, world.append, t.SMS_RECEIPTS.name, receipt)
        await asyncio.sleep(0.05)
        world.check(worker)
        return Unanswered(NoAnswer.CONNECTION_LOST) if self.mood == "forgets" else answer

    def _answer(self, sms: Sms) -> Answer:
        match self.mood:
            case "unavailable":
                return Refused(ErrorClass.UNAVAILABLE, "http-503")
            case "away":
                return Unanswered(NoAnswer.NOT_CONNECTED)
            case "silent":
                return Unanswered(NoAnswer.TIMEOUT)
            case "refuses":
                return Refused(ErrorClass.TRANSIENT, "40011")
        if sms.to_e164 in self.dead_numbers:
            return Refused(ErrorClass.RECIPIENT, "40310")
        self._count += 1
        return Accepted(f"message-{self._count}")

    async def status(self, provider_message_id: str) -> ProviderStatus:
        return ProviderStatus("delivered")

    def delivery_failed(self, error_code: str | None) -> Refused:
        return delivery_failed(error_code)


class PagingWorld:
    """`append` puts a message on a topic, `run` lets time go on. `error` is what a flow raised."""

    def __init__(self, watcher: Watcher, contacts: Sequence[m.Contact], *, receipts: bool) -> None:
        self.loop = SimLoop(Fifo(), random.Random(1), max_steps=10**9)
        self.watcher, self.receipts = watcher, receipts
        self.logs: dict[str, list[FakeRecord]] = {name: [] for name in self._flow_names()}
        self.committed = dict.fromkeys(self.logs, 0)
        self.tables = [FakeTable() for _ in range(3)]
        self.contacts: FakeReference[m.Contact] = FakeReference()
        self.staff(contacts)
        self.provider = Provider(self)
        self.worker = 0
        self.publishes_left: int | None = None
        self.last_arrives = True
        self.error: BaseException | None = None
        self.up_since_ms = self.now_ms()
        self._patches: list[Any] = [patch.object(module, name, value) for module, name, value in PATIENCE]
        self._patches.append(patch.object(rate_limiter, "_monotonic_ms", lambda: self.loop.time() * 1000))
        for each in self._patches:
            each.start()
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._start())

    def close(self) -> None:
        for each in self._patches:
            each.stop()
        self._end()
        self.loop.run(asyncio.sleep(0))
        asyncio.set_event_loop(None)

    def now_ms(self) -> int:
        return NOW_MS + round((self.loop.time() - 1_000.0) * 1000)

    def staff(self, contacts: Sequence[m.Contact]) -> None:
        """From now on these are the contacts."""
        self.contacts._entries = {who.user_id: who for who in contacts}
        self.contacts.version += 1

    def run(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        if self.error is not None:
            raise self.error

    def kill(self, after_publishes: int, *, arrives: bool) -> None:
        """The worker dies with its n-th publishing from now on, which `arrives` or does not; 0: at once."""
        self.publishes_left, self.last_arrives = after_publishes, arrives
        if not after_publishes:
            self._die()

    def check(self, worker: int) -> None:
        """Raises Stale where the worker that asks was killed."""
        if worker != self.worker:
            raise Stale

    def append(self, topic: str, message: object, key: bytes = b"", headers: Sequence[tuple[str, bytes]] = ()) -> None:
        raw = message if isinstance(message, bytes) else encode(message)
        log = self.logs.get(topic)
        if log is not None:
            log.append(FakeRecord(raw, key, len(log), topic, timestamp=self.now_ms(), headers=headers))
            self._grown[topic].set()
        self.watcher.published(topic, message)

    async def _publish(self, worker: int, records: Sequence[Outgoing]) -> None:
        self.check(worker)
        if self.publishes_left is not None and records:
            self.publishes_left -= 1
        dies = self.publishes_left is not None and self.publishes_left <= 0
        if not dies or self.last_arrives:
            for record in records:
                self.append(record.topic.name, record.value, record.key or b"", record.headers)
        if dies:
            self._die()
            # Whoever is at it does nothing more.
            await asyncio.Event().wait()
        await asyncio.sleep(0.001)
        self.check(worker)

    def _die(self) -> None:
        self.publishes_left = None
        self.worker += 1
        self._end()
        self._starting = self.loop.create_task(self._start(RESTART_S))

    def _end(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _start(self, after_s: float = 0.0) -> None:
        await asyncio.sleep(after_s)
        self.up_since_ms = self.now_ms()
        self._grown = {name: asyncio.Event() for name in self.logs}
        publish = partial(self._publish, self.worker)
        ledger, timer_rows, escalations = (TableOf(self, table) for table in self.tables)
        closed = Followed(self)
        await closed.up_to_date()
        organizations: FakeReference[m.Organization] = FakeReference()
        emails = PageEmails(self.now_ms, 60.0)
        timers = Timers(timer_rows, publish, self.now_ms)
        around = Surroundings(
            provider=self.provider,
            table=ledger,
            timers=timers,
            contacts=self.contacts,
            organizations=organizations,
            emails=emails,
            closed=closed,
            publish=publish,
            policy=sms_policy(receipts=self.receipts),
            now_ms=self.now_ms,
            rng=random.Random(1),
        )
        stages = build_stages(around, limits=NO_LIMITS, owned=lambda: [0], polls_at_once=5)
        shares = stages.limiter._shares
        stages.limiter._shares = msgspec.structs.replace(shares, usable_from_ms={0: 0.0})
        texts = AlertTexts(FakeReference(), self.contacts, self.now_ms)
        states = EscalationStates(table=escalations, timers=timers, publish=publish, now_ms=self.now_ms)
        changes = ContactChanges(escalations, self.contacts, publish, self.now_ms)
        times, fallback = ChainTimes(TIMES, organizations), Fallback(texts, emails, organizations, self.now_ms)
        flows: dict[AnyTopic, Callable[[Any], Awaitable[None]]] = {
            t.ALERTS: Paging(states, texts, fallback, self.now_ms, times, "critical").handle,
            t.ALERT_COMMANDS: AlertCommands(states, texts, self.now_ms, times).handle,
            t.ESCALATIONS: Reminders(states, texts, fallback, closed, self.now_ms, times).handle,
            t.SMS_RETRIES: stages.retries.handle,
            t.SMS_RECEIPTS: stages.receipts.handle,
            **{lane: partial(stages.sms.handle, lane) for lane in LANES},
        }
        running = [
            timers.run(),
            stages.sms.run(),
            closed.follow(),
            changes.run(),
            *(self._flow(topic, flow) for topic, flow in flows.items()),
        ]
        self._tasks = [self.loop.create_task(self._watched(work)) for work in running]

    _tasks: Sequence[asyncio.Task[None]] = ()

    async def _watched(self, work: Awaitable[None]) -> None:
        worker = self.worker
        try:
            await work
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - raised where the test runs
            if worker == self.worker:
                self.error = error

    async def _flow(self, topic: AnyTopic, handle: Callable[[Any], Awaitable[None]]) -> None:
        """Batches in order; those of a lane side by side, as the engine has several of them in hand."""
        log, read = self.logs[topic.name], self.committed[topic.name]
        in_hand: dict[int, asyncio.Task[None]] = {}
        while True:
            self._grown[topic.name].clear()
            if records := log[read:]:
                batch = FakeBatch([], topic=topic.name)
                batch.records = records
                task = self.loop.create_task(self._watched(handle(batch)))
                self._tasks = [*self._tasks, task]
                in_hand[len(log)] = task
                task.add_done_callback(partial(self._commit, topic.name, in_hand, self.worker))
                read = len(log)
                if topic not in LANES:
                    await task
                    continue
            await self._grown[topic.name].wait()

    def _commit(self, topic: str, in_hand: dict[int, asyncio.Task[None]], worker: int, _: object) -> None:
        while worker == self.worker and in_hand and next(iter(in_hand.values())).done():
            self.committed[topic] = next(iter(in_hand))
            del in_hand[self.committed[topic]]

    @staticmethod
    def _flow_names() -> list[str]:
        return [t.ALERTS.name, t.ALERT_COMMANDS.name, t.ESCALATIONS.name, t.SMS_RETRIES.name, t.SMS_RECEIPTS.name] + [
            lane.name for lane in LANES
        ]
