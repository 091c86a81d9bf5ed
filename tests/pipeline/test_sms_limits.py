"""The global rate and cap at the provider: two workers keep them together, also while their partitions change hands."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from local.telnyx.behaviour import Behaviour
from schemas import messages as m
from tests.pipeline.sms_traffic import SHORT_SESSION, Traffic, most_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.telnyx.client import TelnyxProcess
    from tests.conftest import Eventually
    from tests.pipeline.conftest import Space, Worker

pytestmark = pytest.mark.broker

PER_SECOND = 40
CAP = 8
PROVIDER_MS = 150
CARELESS = "tests.pipeline.careless_worker"
LIMITS = {"SMS_PER_SECOND": f"{PER_SECOND}", "SMS_GLOBAL_CAP": f"{CAP}", "SMS_CONCURRENCY": "8"}


class Peaks:
    """The worst second and the most requests at once, as the provider saw them."""

    def __init__(self, telnyx: TelnyxProcess) -> None:
        log = telnyx.log()
        self.in_a_second = most_within((arrival.at_s for arrival in log.arrivals), 1.0)
        self.in_flight = log.most_in_flight


@pytest.fixture
def traffic(space: Space, telnyx: TelnyxProcess) -> Traffic:
    traffic = Traffic(space, telnyx)
    traffic.people(1_000)
    telnyx.behave(Behaviour(delay_ms=PROVIDER_MS))
    return traffic


def test_two_workers_keep_rate_and_cap_together_through_rebalances(
    traffic: Traffic, start_worker: Callable[..., Worker], telnyx: TelnyxProcess, eventually: Eventually
) -> None:
    traffic.queue(m.Severity.WARNING, range(1_000))

    def more_arrive(count: int) -> None:
        goal = telnyx.counts().arrivals + count
        eventually(lambda: telnyx.counts().arrivals >= goal, within_s=40, what=f"{count} more SMS")

    start_worker("notifications", **LIMITS, **SHORT_SESSION, **traffic.provider)
    more_arrive(60)
    second = start_worker("notifications", **LIMITS, **SHORT_SESSION, **traffic.provider)
    eventually(lambda: b"worker.ready" in second.log.read_bytes(), within_s=40)
    more_arrive(80)
    second.end(signal.SIGTERM)
    more_arrive(60)
    peaks = Peaks(telnyx)
    assert peaks.in_a_second <= PER_SECOND
    assert peaks.in_flight <= CAP
    # The limits were what held it up.
    assert peaks.in_a_second >= PER_SECOND * 0.6
    assert traffic.sent_again() == 0


def test_workers_that_each_take_the_whole_limit_are_found_out(
    traffic: Traffic, start_worker: Callable[..., Worker], telnyx: TelnyxProcess, eventually: Eventually
) -> None:
    traffic.queue(m.Severity.WARNING, range(1_000))
    workers = [
        start_worker("notifications", module=CARELESS, CARELESS="shares", **LIMITS, **traffic.provider)
        for _ in range(2)
    ]
    eventually(lambda: all(b"worker.ready" in worker.log.read_bytes() for worker in workers), within_s=40)
    eventually(lambda: Peaks(telnyx).in_a_second > PER_SECOND, within_s=20, every_s=0.5)
    assert Peaks(telnyx).in_flight > CAP / 2
