"""Who is reminded when nobody answers, through a real worker: alerts and orders come straight from Kafka."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, TypedDict

import msgspec
import pytest

from domain.notification.request_ids import sms_request_id
from local.telnyx.behaviour import Behaviour
from schemas import messages as m
from schemas.messages import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from local.telnyx.client import TelnyxProcess
    from tests.conftest import Eventually
    from tests.pipeline.conftest import Space, Worker

pytestmark = pytest.mark.broker

ADA, CARL = "+12025550101", "+12025550102"
CHAIN = (
    m.Contact(user_id="ada", organization_id="org-1", name="Ada", phone_e164=ADA),
    m.Contact(user_id="carl", organization_id="org-1", name="Carl", phone_e164=CARL, escalation_level=2),
)
UNITS = range(1, 41)
A_LONG_TIME_S = "900"


class About(TypedDict):
    alert_id: str
    unit_id: str
    organization_id: str


class Breach(TypedDict):
    rule_id: str
    kind: m.AlertKind
    severity: m.Severity
    started_at_ms: int
    at_ms: int


def now_ms() -> int:
    return int(time.time() * 1000)


class Story:
    """Numbered units, each with one alert, and what people got to read of them."""

    def __init__(
        self, space: Space, start_worker: Callable[..., Worker], telnyx: TelnyxProcess, eventually: Eventually
    ) -> None:
        self._space = space
        self._start_worker = start_worker
        self._telnyx = telnyx
        self._eventually = eventually
        for contact in CHAIN:
            space.send("contacts", contact.user_id, encode(contact))
        for number in UNITS:
            unit = m.UnitConfig(unit_id=f"unit-{number}", organization_id="org-1", name=f"Fridge {number}.")
            space.send("units", unit.unit_id, encode(unit))
        space.flush()

    def worker(self, *, wait_s: str) -> Worker:
        return self._start_worker(
            "notifications",
            TELNYX_API_URL=self._telnyx.url,
            TELNYX_API_KEY=self._telnyx.api_key,
            TELNYX_FROM="+12025550199",
            TELNYX_MESSAGING_PROFILE_ID="profile-1",
            RATE_WINDOW_S="0",
            ESCALATION_WAIT_S=wait_s,
            ALL_CLEAR="none",
        )

    def trigger(self, *numbers: int) -> None:
        for number in numbers:
            alert = m.AlertTriggered(temperature_c=9.5, limit_c=8.0, **_about(number), **_breach())
            self._publish("alerts", number, alert)

    def resolve(self, number: int) -> None:
        self._publish("alerts", number, m.AlertResolved(**_about(number), **_breach()))

    def acknowledge(self, number: int) -> None:
        self._publish("alert-commands", number, m.Acknowledge(user_id="ada", at_ms=now_ms(), **_about(number)))

    def silence(self, number: int) -> None:
        silence = m.Silence(user_id="ada", at_ms=now_ms(), until_at_ms=now_ms() + 3_600_000, **_about(number))
        self._publish("alert-commands", number, silence)

    def notify_now(self, number: int) -> None:
        self._publish("alert-commands", number, m.NotifyNow(user_id="boss", at_ms=now_ms(), **_about(number)))

    def miss(self, number: int) -> None:
        """Nobody of the first level has it on the phone: the reminder is due now."""
        missed = m.PageUndelivered(user_id="ada", level=1, because="dead", at_ms=now_ms(), **_about(number))
        self._publish("escalations", number, missed)

    def put_reminder_into_the_lane(self, number: int) -> None:
        request = m.SmsRequest(
            request_id=sms_request_id(f"alert-{number}", "carl", 2),
            user_id="carl",
            kind=m.AlertKind.TEMPERATURE_HIGH,
            severity=m.Severity.CRITICAL,
            level=2,
            text=f"REMINDER: Fridge {number}.",
            breach_at_ms=now_ms(),
            requested_at_ms=now_ms(),
            **_about(number),
        )
        self._space.send("sms-critical", "carl", encode(request))
        self._space.flush()

    def _publish(self, topic: str, number: int, message: msgspec.Struct) -> None:
        self._space.send(topic, f"unit-{number}", encode(message))
        self._space.flush()

    def told(self, phone: str) -> list[int]:
        """The units of which this phone got an SMS, in order; a unit as often as it came."""
        texts = [arrival.text for arrival in self._telnyx.log().arrivals if arrival.accepted and arrival.to == phone]
        return [int(found.group(1)) for text in texts if (found := re.search(r"Fridge (\d+)\.", text))]

    def wait_until_told(self, phone: str, *numbers: int, within_s: float = 40) -> None:
        self._eventually(lambda: set(numbers) <= set(self.told(phone)), within_s=within_s, every_s=0.02)

    def wait_for_end(self, number: int) -> m.EscalationEnded:
        """The chain of a unit is at its end."""

        def ends() -> list[m.EscalationEnded]:
            ends = (event for event in self.events() if isinstance(event, m.EscalationEnded))
            return [event for event in ends if event.unit_id == f"unit-{number}"]

        return self._eventually(ends, within_s=20, every_s=0.1)[0]

    def events(self) -> list[m.Escalation]:
        records = self._space.read("escalations")
        return [msgspec.json.decode(record.value() or b"", type=m.Escalation) for record in records]

    def partitions(self, numbers: Iterable[int]) -> set[int | None]:
        """Where the alerts of these units lie."""
        keys = {f"unit-{number}".encode() for number in numbers}
        return {record.partition() for record in self._space.read("alerts") if record.key() in keys}

    def cancelled(self) -> set[str]:
        outcomes = [msgspec.json.decode(r.value() or b"", type=m.Outcome) for r in self._space.read("sms-outcomes")]
        return {outcome.alert_id for outcome in outcomes if isinstance(outcome, m.SmsCancelled)}


def _about(number: int) -> About:
    return {"alert_id": f"alert-{number}", "unit_id": f"unit-{number}", "organization_id": "org-1"}


def _breach() -> Breach:
    return {
        "rule_id": "high",
        "kind": m.AlertKind.TEMPERATURE_HIGH,
        "severity": m.Severity.CRITICAL,
        "started_at_ms": now_ms(),
        "at_ms": now_ms(),
    }


@pytest.fixture
def story(space: Space, start_worker: Callable[..., Worker], telnyx: TelnyxProcess, eventually: Eventually) -> Story:
    return Story(space, start_worker, telnyx, eventually)


def test_the_next_level_is_reminded_unless_somebody_acknowledged_or_the_alert_ended(story: Story) -> None:
    story.worker(wait_s="5")
    unanswered, acknowledged, resolved = 1, 2, 3
    story.trigger(unanswered, acknowledged, resolved)
    story.wait_until_told(ADA, unanswered, acknowledged, resolved)
    assert story.told(CARL) == []
    story.acknowledge(acknowledged)
    story.resolve(resolved)
    story.wait_until_told(CARL, unanswered)
    # Two waits after the beginning: whatever was not cancelled has fired long since.
    end = story.wait_for_end(unanswered)
    assert (end.because, end.level) == ("chain_ended", 2)
    assert story.told(CARL) == [unanswered]
    assert sorted(story.told(ADA)) == [unanswered, acknowledged, resolved]
    steps = [event for event in story.events() if isinstance(event, m.EscalationStepped) and event.level > 1]
    assert [step.unit_id for step in steps] == ["unit-1"]


def test_an_sms_that_cannot_be_delivered_does_not_wait_for_an_answer(story: Story, telnyx: TelnyxProcess) -> None:
    telnyx.behave(Behaviour(code="40310"), number=ADA)
    story.worker(wait_s=A_LONG_TIME_S)
    story.trigger(1)
    story.wait_until_told(CARL, 1)


def test_a_killed_worker_keeps_its_timers_and_an_acknowledgement_meanwhile_counts(
    story: Story, telnyx: TelnyxProcess
) -> None:
    wait_s = 8.0
    worker = story.worker(wait_s=str(wait_s))
    acknowledged, unanswered = range(1, 7), range(7, 15)
    began_s = time.monotonic()
    story.trigger(*acknowledged, *unanswered)
    story.wait_until_told(ADA, *acknowledged, *unanswered)
    worker.kill()
    for number in acknowledged:
        story.acknowledge(number)
    worker.start()
    # In every partition the reminders of those that nobody took are due last.
    assert story.partitions(unanswered) >= story.partitions(acknowledged)
    story.wait_until_told(CARL, *unanswered)
    assert sorted(story.told(CARL)) == list(unanswered)
    reminders = [arrival for arrival in telnyx.log().arrivals if arrival.to == CARL]
    assert min(reminder.at_s for reminder in reminders) >= began_s + wait_s


def test_two_workers_share_the_alerts_and_the_one_that_stays_takes_the_steps_of_both(
    story: Story, eventually: Eventually
) -> None:
    leaving, staying = story.worker(wait_s="8"), story.worker(wait_s="8")

    def both_say(event: str) -> bool:
        return all(event in worker.log.read_text() for worker in (leaving, staying))

    eventually(lambda: both_say("worker.ready"), within_s=40)
    acknowledged, unanswered = range(1, 13), range(13, 25)
    story.trigger(*acknowledged, *unanswered)
    story.wait_until_told(ADA, *acknowledged, *unanswered)
    for number in acknowledged:
        story.acknowledge(number)
    eventually(lambda: both_say("alert.acknowledged"))
    assert leaving.end() == 0
    assert story.partitions(unanswered) >= story.partitions(acknowledged)
    story.wait_until_told(CARL, *unanswered)
    assert sorted(story.told(CARL)) == list(unanswered)
    assert staying.running()


def test_no_reminder_comes_after_an_acknowledgement_that_a_running_worker_may_read_later(story: Story) -> None:
    """The step is due with the very next record, in another topic: only the question to the broker tells."""
    story.worker(wait_s=A_LONG_TIME_S)
    acknowledged, unanswered = range(1, 25), range(25, 33)
    story.trigger(*acknowledged, *unanswered)
    story.wait_until_told(ADA, *acknowledged, *unanswered)
    for number in acknowledged:
        story.acknowledge(number)
        story.miss(number)
    for number in unanswered:
        story.miss(number)
    # Those that nobody took come behind the others in every partition.
    assert story.partitions(unanswered) >= story.partitions(acknowledged)
    story.wait_until_told(CARL, *unanswered)
    assert sorted(story.told(CARL)) == list(unanswered)


def test_no_reminder_comes_after_an_acknowledgement_in_any_order_while_the_worker_is_down(story: Story) -> None:
    worker = story.worker(wait_s=A_LONG_TIME_S)
    due_first, due_last, in_the_lane_first, in_the_lane_last, unanswered = range(1, 6)
    story.trigger(due_first, due_last, in_the_lane_first, in_the_lane_last, unanswered)
    story.wait_until_told(ADA, due_first, due_last, in_the_lane_first, in_the_lane_last, unanswered)
    assert worker.end() == 0
    story.miss(due_first)
    story.put_reminder_into_the_lane(in_the_lane_first)
    for number in (due_first, due_last, in_the_lane_first, in_the_lane_last):
        story.acknowledge(number)
    story.miss(due_last)
    story.put_reminder_into_the_lane(in_the_lane_last)
    story.miss(unanswered)
    worker.start()
    story.wait_until_told(CARL, unanswered)
    assert story.told(CARL) == [unanswered]
    assert story.cancelled() == {f"alert-{in_the_lane_first}", f"alert-{in_the_lane_last}"}


def test_a_silence_puts_the_reminder_off_and_an_order_to_notify_ends_it(story: Story) -> None:
    story.worker(wait_s=A_LONG_TIME_S)
    silenced, unanswered = 1, range(2, 10)
    story.trigger(silenced, *unanswered)
    story.wait_until_told(ADA, silenced, *unanswered)
    story.silence(silenced)
    for number in (silenced, *unanswered):
        story.miss(number)
    story.wait_until_told(CARL, *unanswered)
    assert silenced not in story.told(CARL)
    story.notify_now(silenced)
    story.wait_until_told(CARL, silenced)
    assert story.told(ADA).count(silenced) == 2
