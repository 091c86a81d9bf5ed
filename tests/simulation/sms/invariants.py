"""What must hold for SMS: none lost, none twice in effect, no page after an acknowledgement that could be seen."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from schemas import messages as m
from schemas import topics as t
from streams.engine.applied_offset import applied_offset_of, newest_by_applied_offset
from streams.engine.timer_rows import decode as decode_timer
from streams.notifications.ledger import Entry
from tests.simulation.processes import running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.notifications.provider import Sms
    from tests.simulation.partition_log import PartitionLog
    from tests.simulation.processes import Process
    from tests.simulation.sms.plan import SmsPlan
    from tests.simulation.sms.provider import SimProvider, Taken
    from tests.simulation.world import World

ENDS = {"delivered", "dead", "named", "cancelled", "opted_out", "unconfirmed"}
LANES = {lane.name for lane in t.SMS_LANES.values()}
# What the question for acknowledgements may take, and a stall of the process after its answer.
ASKED_BEFORE_S = 2.5
WINDOW_S = 15.0

_outcome = msgspec.json.Decoder(m.Outcome).decode
_request = msgspec.json.Decoder(m.SmsRequest).decode
_receipt = msgspec.json.Decoder(m.Receipt).decode
_entry = msgspec.msgpack.Decoder(Entry).decode
_command = msgspec.json.Decoder(m.Command).decode
_letter = msgspec.json.Decoder(m.SmsDeadLetter).decode


class SmsInvariants:
    """Some are checked while the run goes on, at the broker and at the provider; the others at its end."""

    def __init__(self, world: World, plan: SmsPlan, provider: SimProvider, people: Sequence[m.Contact]) -> None:
        self._world = world
        self._plan = plan
        self._provider = provider
        self._people = people
        self._requests: dict[str, m.SmsRequest] = {}
        self._outcomes: defaultdict[str, list[m.SmsOutcome]] = defaultdict(list)
        self._letters: set[str] = set()
        # Those that their window held back, as the ledger knows.
        self._held: set[str] = set()
        self._alerts: dict[str, m.AlertTriggered] = {}
        self._acknowledged: dict[str, float] = {}
        self._takes: defaultdict[str, list[Taken]] = defaultdict(list)
        # By attempt: where the first receipt about it lies, and when it was committed.
        self._reported: dict[str, tuple[int, int]] = {}
        self._heard_at: dict[str, float] = {}
        self._failed: set[str] = set()
        provider.on_leaving = self._leaving
        provider.on_taken = self._taken
        world.watch(self._appended, self._committed)
        self._committed_to: dict[tuple[str, int], int] = {}

    def _appended(self, log: PartitionLog, first: int, _: Process | None) -> None:
        for record in log.history[-40:]:
            if record.offset >= first:
                self._take(log.topic, record)

    def _take(self, topic: str, record: Any) -> None:
        if topic in LANES:
            request = _request(record.value)
            self._requests.setdefault(request.request_id, request)
        elif topic == t.SMS_OUTCOMES.name:
            outcome = _outcome(record.value)
            self._outcomes[outcome.request_id].append(outcome)
            self._world.covered[f"outcome {_tag(outcome)}"] += 1
        elif topic == "sms-ledger-changelog" and record.key[:1] == b"r" and record.value is not None:
            if _entry(record.value).waited_for_window:
                self._held.add(record.key[1:].decode())
        elif topic == t.SMS_DLQ.name:
            self._letters.add(_letter(record.value).request.request_id)

    def _follow(self) -> None:
        """What people and webhooks wrote, who are no producers of the fake broker."""
        broker = self._world.broker
        for log in broker.topics[t.ALERT_COMMANDS.name]:
            for record in log.history:
                command = _command(record.value or b"")
                at = record.timestamp / 1000 - 1_795_521_600.0 + 1_000.0
                if isinstance(command, m.Acknowledge):
                    self._acknowledged.setdefault(command.alert_id, at)
        for log in broker.topics[t.SMS_RECEIPTS.name]:
            for record in log.history:
                receipt = _receipt(record.value or b"")
                if isinstance(receipt, m.DeliveryReceipt):
                    self._reported.setdefault(receipt.attempt_id, (log.partition, record.offset))
                    if receipt.status.endswith("failed"):
                        self._failed.add(receipt.attempt_id)

    def _committed(self, partition: tuple[str, int], offset: int) -> None:
        former = self._committed_to.get(partition, 0)
        if offset < former:
            raise AssertionError(f"{partition}: commit of {offset} after {former}")
        self._committed_to[partition] = offset
        if partition[0] != t.SMS_RECEIPTS.name:
            return
        self._follow()
        for attempt_id, (number, place) in self._reported.items():
            if number == partition[1] and place < offset:
                self._heard_at.setdefault(attempt_id, self._world.broker.loop.time())

    def _leaving(self, sms: Sms) -> None:
        """No reminder, and nothing that was held back, leaves after an acknowledgement that could have been read."""
        assert sms.ids is not None
        self._follow()
        request = self._requests[sms.ids.request]
        held = request.request_id in self._held
        process = running.get()
        if request.all_clear or not (request.level > 1 or request.round > 0 or held):
            return
        self._world.covered["reminders"] += 1
        acknowledged_at = self._acknowledged.get(request.alert_id)
        slack_s = ASKED_BEFORE_S + (process.frozen_s if process is not None else 0.0)
        if acknowledged_at is not None and acknowledged_at < self._world.broker.loop.time() - slack_s:
            self._world.broker.loop.fail(
                AssertionError(f"{request.request_id} leaves, but {request.alert_id} has been acknowledged for long")
            )

    def _taken(self, taken: Taken) -> None:
        """Accepted once; again only where the former attempt failed, or was declared unknown and not yet reported."""
        self._follow()
        for former in self._takes[taken.request_id]:
            self._world.covered["taken again"] += 1
            declared = any(
                isinstance(outcome, m.SmsUnknown) and outcome.attempt_id == former.attempt_id
                for outcome in self._outcomes[taken.request_id]
            )
            if former.attempt_id in self._failed or former.status.endswith("failed"):
                continue
            if not declared:
                self._fail(f"{taken.request_id} is taken as {taken.attempt_id}, and was taken as {former.attempt_id}")
            heard_at = self._heard_at.get(former.attempt_id)
            if heard_at is not None and heard_at < taken.left_at and former.attempt_id != taken.attempt_id:
                self._fail(f"{taken.request_id} is sent again as {taken.attempt_id} after a receipt had been read")
        self._takes[taken.request_id].append(taken)
        if self._plan.strict:
            self._keeps_window(taken)

    def _keeps_window(self, taken: Taken) -> None:
        """By the plain rule a person gets one SMS about a breach in a window, but for what became unknown or failed."""
        request = self._requests[taken.request_id]
        if request.all_clear:
            return
        for former in self._provider.taken.values():
            other = self._requests[former.request_id]
            if other.user_id != request.user_id or other.request_id == request.request_id or other.all_clear:
                continue
            doubtful = any(isinstance(outcome, m.SmsUnknown) for outcome in self._outcomes[other.request_id])
            reminder = other.level > 1 or other.round > 0
            if doubtful or reminder or former.status.endswith("failed"):
                continue
            if taken.left_at - former.left_at < WINDOW_S:
                self._fail(f"{taken.request_id} leaves within the window of {other.request_id}")

    def _fail(self, why: str) -> None:
        self._world.broker.loop.fail(AssertionError(why))

    def what_is_missing(self) -> str:
        """Every request has its end, and no timer waits."""
        open_ = [request_id for request_id in self._requests if not self._has_ended(request_id)]
        if open_:
            first = open_[0]
            return f"{len(open_)} requests have no end, {first} has {[_tag(one) for one in self._outcomes[first]]}"
        timers = self._timers()
        return f"{len(timers)} timers wait: {sorted(timers)[:3]}" if timers else ""

    def _has_ended(self, request_id: str) -> bool:
        tags = {_tag(outcome) for outcome in self._outcomes[request_id]}
        if tags & ENDS:
            return True
        return ("sent" in tags and not self._plan.receipts) or ("rate_limited" in tags and self._plan.strict)

    def _timers(self) -> dict[bytes, int]:
        return {
            key: decode_timer(value).due_at_ms
            for log in self._world.broker.topics["sms-timers-changelog"]
            for key, value in newest_by_applied_offset(log.records, applied_offset_of, lambda _: None).items()
            if value is not None
        }

    def check(self) -> None:
        for request_id, outcomes in self._outcomes.items():
            tags = [_tag(outcome) for outcome in outcomes]
            if "dead" in tags and request_id not in self._letters:
                raise AssertionError(f"{request_id} is dead, and no dead letter says so")
        for taken in self._provider.taken.values():
            if taken.request_id not in self._requests:
                raise AssertionError(f"the provider took {taken.request_id}, which nobody requested")
            tags = [_tag(outcome) for outcome in self._outcomes[taken.request_id]]
            if "sending" not in tags:
                raise AssertionError(f"{taken.request_id} was sent, and no outcome says so: {tags}")
        self._check_paged()

    def _check_paged(self) -> None:
        """Everybody at the first level is asked about every alert, unless it was acknowledged before it was read."""
        self._follow()
        asked = {(request.alert_id, request.user_id) for request in self._requests.values()}
        for log in self._world.broker.topics[t.ALERTS.name]:
            for record in log.history:
                alert = msgspec.json.decode(record.value or b"", type=m.Alert)
                if not isinstance(alert, m.AlertTriggered) or alert.alert_id in self._acknowledged:
                    continue
                for person in self._people:
                    if person.escalation_level == 1 and (alert.alert_id, person.user_id) not in asked:
                        raise AssertionError(f"{person.user_id} was never asked about {alert.alert_id}")


def _tag(outcome: m.SmsOutcome) -> str:
    return str(outcome.__struct_config__.tag)
