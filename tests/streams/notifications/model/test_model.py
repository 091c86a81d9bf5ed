"""The model disagrees with the flows in no course of events that hypothesis finds, and with every planted defect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.streams.notifications.model.defects import DEFECTS, Defect, planted
from tests.streams.notifications.model.model import Broken
from tests.streams.notifications.model.scenario import CRITICAL, UNITS, WARNING, Mood, Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")

LEAST_DEFECTS = 20


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What the flows log of so many alerts is not needed."""
    former = structlog.get_config()
    structlog.configure(processors=[_drop])
    yield
    structlog.configure(**former)


def _drop(*_: Any) -> str:
    raise structlog.DropEvent


class AnHourOnCall(RuleBasedStateMachine):
    """Alerts, people, orders, the provider and crashes, in any order; the model looks at all of it as time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.scenario: Scenario

    @initialize(levels=st.lists(st.sampled_from([1, 1, 2, 3]), min_size=1, max_size=4), receipts=st.booleans())
    def begin(self, levels: list[int], receipts: bool) -> None:
        self.scenario = Scenario(levels, receipts=receipts)

    def teardown(self) -> None:
        if not hasattr(self, "scenario"):
            return
        try:
            self.scenario.provider("well")
            self.scenario.later(3_600)
        finally:
            self.scenario.close()

    def _alert(self, data: st.DataObject) -> Any:
        return data.draw(st.sampled_from(self.scenario.firing()))

    def _person(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.scenario.model.people)))

    @rule(seconds=st.sampled_from([1, 5, 20, 60, 300, 900, 1_800, 3_600, 15_000]))
    def time_goes_on(self, seconds: float) -> None:
        self.scenario.later(seconds)

    @rule(unit_id=st.sampled_from(UNITS), severity=st.sampled_from([CRITICAL, CRITICAL, WARNING]))
    def breach(self, unit_id: str, severity: Any) -> None:
        self.scenario.breach(unit_id, severity)

    @rule()
    def everything_fails(self) -> None:
        for unit_id in UNITS:
            self.scenario.breach(unit_id)
            self.scenario.later(7)

    @precondition(lambda self: self.scenario.firing())
    @rule(data=st.data(), do=st.sampled_from(["worsen", "resolve", "acknowledge", "notify_now"]))
    def change_of_an_alert(self, data: st.DataObject, do: str) -> None:
        getattr(self.scenario, do)(self._alert(data))

    @precondition(lambda self: self.scenario.firing())
    @rule(data=st.data(), minutes=st.sampled_from([1, 10, 60]))
    def silence(self, data: st.DataObject, minutes: int) -> None:
        self.scenario.silence(self._alert(data), minutes)

    @precondition(lambda self: any(alert.told for alert in self.scenario.firing()))
    @rule(data=st.data())
    def reply(self, data: st.DataObject) -> None:
        alert = data.draw(st.sampled_from([alert for alert in self.scenario.firing() if alert.told]))
        self.scenario.reply(alert, data.draw(st.sampled_from(sorted(alert.told))))

    @precondition(lambda self: self.scenario.model.people)
    @rule(data=st.data(), on_duty=st.booleans())
    def shift(self, data: st.DataObject, on_duty: bool) -> None:
        self.scenario.change(self._person(data), on_duty=on_duty)

    @precondition(lambda self: self.scenario.model.people)
    @rule(data=st.data(), what=st.sampled_from(["renumber", "dead_number", "remove"]))
    def contact_change(self, data: st.DataObject, what: str) -> None:
        getattr(self.scenario, what)(self._person(data))

    @precondition(lambda self: self.scenario.model.people)
    @rule(data=st.data(), out=st.booleans())
    def opt_out(self, data: st.DataObject, out: bool) -> None:
        self.scenario.change(self._person(data), sms_opted_out=out)

    @rule(mood=st.sampled_from(["well", "well", "unavailable", "away", "silent", "refuses", "forgets"]))
    def provider(self, mood: Mood) -> None:
        self.scenario.provider(mood)

    @rule(after_publishes=st.integers(0, 8), arrives=st.booleans())
    def crash(self, after_publishes: int, arrives: bool) -> None:
        self.scenario.kill(after_publishes, arrives=arrives)


NORMAL = settings(
    max_examples=10,
    stateful_step_count=12,
    deadline=None,
    derandomize=True,
    # The course that failed is short enough to read, and shrinking takes minutes.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestAnHourOnCall = AnHourOnCall.TestCase
TestAnHourOnCall.settings = NORMAL


TestManyHoursOnCall: Any = pytest.mark.long(type("TestManyHoursOnCall", (AnHourOnCall.TestCase,), {}))
TestManyHoursOnCall.settings = settings(NORMAL, max_examples=1_000, stateful_step_count=30, derandomize=False)


def test_enough_defects_are_planted() -> None:
    assert len(DEFECTS) >= LEAST_DEFECTS


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_planted_defect_breaks_a_promise_and_the_sound_code_keeps_it(defect: Defect) -> None:
    run(defect)
    with planted(defect), pytest.raises(Broken):
        run(defect)


def run(defect: Defect) -> None:
    scenario = Scenario(defect.levels, receipts=defect.receipts)
    try:
        defect.course(scenario)
    finally:
        scenario.close()
