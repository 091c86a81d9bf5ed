"""When the provider refuses: tried again at the times that the formulas give, as often as allowed, or not at all."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import pytest

from local.telnyx.behaviour import Behaviour
from schemas import messages as m
from tests.pipeline.sms_traffic import Traffic, phone

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.telnyx.client import TelnyxProcess
    from local.telnyx.records import Arrival
    from tests.conftest import Eventually
    from tests.pipeline.conftest import Space, Worker

pytestmark = pytest.mark.broker

BUSY = Behaviour(code="40008")
TIMEOUT_S = 1.0
# The worker's clock for an answer starts a little before the provider sees the request.
CLOCK_MS = 100.0


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider does to one person's message, and the waits that must follow from that, as (least, most)."""

    behaviours: list[Behaviour]
    waits_s: list[tuple[float, float]]
    ends: type[m.SmsOutcome]


STORIES = (
    # Exponential from 1 s, with up to half of it on top.
    *(Story(behaviours=[BUSY, BUSY], waits_s=[(1.0, 1.5), (2.0, 3.0)], ends=m.SmsSent) for _ in range(4)),
    Story(behaviours=[BUSY, BUSY, BUSY], waits_s=[(1.0, 1.5), (2.0, 3.0)], ends=m.SmsDead),
    Story(behaviours=[Behaviour(status=503)], waits_s=[(1.0, 1.5)], ends=m.SmsSent),
    # As the provider says.
    Story(behaviours=[Behaviour(status=429, retry_after_s=2.5)], waits_s=[(2.5, 2.5)], ends=m.SmsSent),
    Story(behaviours=[Behaviour(status=429, ratelimit_reset_s=1.2)], waits_s=[(1.2, 1.2)], ends=m.SmsSent),
    Story(behaviours=[Behaviour(status=503, retry_after_s=4.0)], waits_s=[(4.0, 4.0)], ends=m.SmsSent),
    # No answer in time: 5 s times the attempts, from the moment that it was given up.
    Story(behaviours=[Behaviour(answer="hang", accept=False)], waits_s=[(5.0, 5.0)], ends=m.SmsSent),
    # Nothing to be gained by another try.
    *(
        Story(behaviours=[Behaviour(code=code)], waits_s=[], ends=m.SmsDead)
        for code in ("10002", "10016", "40001", "40012", "40310", "40311")
    ),
    Story(behaviours=[Behaviour(code="40300")], waits_s=[], ends=m.SmsOptedOut),
)


def failed_at_ms(arrival: Arrival) -> float:
    """When the worker knew: with the answer, or when it stopped to wait for one."""
    answered_s = arrival.at_s + TIMEOUT_S if arrival.answered_s is None else arrival.answered_s
    return arrival.at_ms + (answered_s - arrival.at_s) * 1000


def test_attempts_follow_each_other_as_the_formulas_say(
    space: Space, start_worker: Callable[..., Worker], telnyx: TelnyxProcess, eventually: Eventually
) -> None:
    traffic = Traffic(space, telnyx)
    traffic.people(len(STORIES))
    for number, story in enumerate(STORIES):
        behaviours = [msgspec.structs.replace(behaviour, times=1) for behaviour in story.behaviours]
        telnyx.behave(*behaviours, number=phone(number))
    start_worker("notifications", SMS_TIMEOUT_S=f"{TIMEOUT_S}", **traffic.provider)
    traffic.queue(m.Severity.WARNING, range(len(STORIES)))
    ends = (m.SmsSent, m.SmsDead, m.SmsOptedOut)
    eventually(
        lambda: sum(isinstance(outcome, ends) for outcome in traffic.outcomes()) >= len(STORIES),
        within_s=40,
        every_s=0.3,
    )

    ended = {outcome.request_id: type(outcome) for outcome in traffic.outcomes() if isinstance(outcome, ends)}
    assert ended == {name: story.ends for name, story in zip(traffic.queued, STORIES, strict=True)}
    # Failures of the provider use up no attempt, so the order tells which retry is which.
    due_at_ms: defaultdict[str, list[int]] = defaultdict(list)
    for outcome in sorted(traffic.outcomes(), key=lambda outcome: outcome.at_ms):
        if isinstance(outcome, m.SmsRetryScheduled):
            due_at_ms[outcome.request_id].append(outcome.due_at_ms)
    late_ms: list[float] = []
    beyond_ms: list[float] = []
    arrivals = telnyx.log().arrivals
    for name, story in zip(traffic.queued, STORIES, strict=True):
        tries = [arrival for arrival in arrivals if arrival.text == name]
        assert len(tries) == len(story.waits_s) + 1, name
        for due_ms, (failed, again), (least_s, most_s) in zip(
            due_at_ms[name], pairwise(tries), story.waits_s, strict=True
        ):
            planned_s = (due_ms - failed_at_ms(failed)) / 1000
            assert planned_s >= least_s - CLOCK_MS / 1000, f"{name}: {planned_s} s"
            beyond_ms.append((planned_s - most_s) * 1000)
            late_ms.append(again.at_ms - due_ms)
    assert min(late_ms) >= 0, "before its time"
    # One that is late on a busy machine does not say that the worker is.
    for values_ms in (late_ms, beyond_ms):
        assert statistics.median(values_ms) < 100, values_ms
        assert max(values_ms) < 1_000, values_ms
    letters = Counter(message.key() for message in space.read("sms-dlq"))
    assert letters == {f"user-{number}".encode(): 1 for number, story in enumerate(STORIES) if story.ends is m.SmsDead}
