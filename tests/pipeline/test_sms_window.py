"""One SMS a person and kind of alert in any window, whatever happens to workers and provider in between."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from local.telnyx.behaviour import Behaviour
from schemas import messages as m
from tests.pipeline.receipt_intake import ReceiptIntake
from tests.pipeline.sms_traffic import SHORT_SESSION, Traffic, phone, too_close

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.telnyx.client import TelnyxProcess
    from tests.conftest import Eventually
    from tests.pipeline.conftest import Space, Worker

pytestmark = pytest.mark.broker

PEOPLE = 20
WINDOW_S = 2.0
EVERY_S = 0.02


@pytest.fixture
def traffic(space: Space, telnyx: TelnyxProcess) -> Traffic:
    traffic = Traffic(space, telnyx)
    traffic.people(PEOPLE)
    return traffic


class Flood:
    """Far more requests than the window allows: one each 20 ms, to twenty people in turn."""

    def __init__(self, traffic: Traffic, eventually: Eventually) -> None:
        self._traffic = traffic
        self._eventually = eventually
        self._number = 0

    def go_on(self, seconds: float) -> None:
        begin = time.monotonic()
        first = self._number
        while time.monotonic() < begin + seconds:
            self._traffic.queue(m.Severity.WARNING, [self._number], people=PEOPLE)
            self._number += 1
            self._eventually(lambda: time.monotonic() >= begin + (self._number - first) * EVERY_S)

    def until_sent(self, count: int) -> None:
        goal = self._traffic.telnyx.counts().accepted + count
        deadline = time.monotonic() + 40
        while self._traffic.telnyx.counts().accepted < goal:
            assert time.monotonic() < deadline, f"not {count} more SMS"
            self.go_on(0.2)


def test_no_two_reach_a_person_within_the_window_through_failures_restart_rebalance_and_kill(
    traffic: Traffic, start_worker: Callable[..., Worker], telnyx: TelnyxProcess, eventually: Eventually
) -> None:
    with ReceiptIntake(traffic.space) as intake:
        settings = {
            "RATE_WINDOW_S": f"{WINDOW_S}",
            "SMS_WINDOW": "strict",
            "TELNYX_WEBHOOK_URL": intake.url,
            "RECEIPT_WAIT_S": "2",
            "SMS_TIMEOUT_S": "1",
            **SHORT_SESSION,
            **traffic.provider,
        }
        # What fails uses no slot; what was accepted without an answer does.
        refused, unanswered = Behaviour(code="40008", times=2), Behaviour(answer="drop", times=1)
        for number in range(0, PEOPLE, 2):
            telnyx.behave(
                *(behaviour for _ in range(20) for behaviour in (refused, unanswered, Behaviour(times=2))),
                number=phone(number),
            )
        flood = Flood(traffic, eventually)
        first = start_worker("notifications", **settings)
        flood.until_sent(PEOPLE)
        second = start_worker("notifications", **settings)
        eventually(lambda: b"worker.ready" in second.log.read_bytes(), within_s=40)
        flood.until_sent(PEOPLE)
        first.kill()
        flood.until_sent(PEOPLE)
        second.end(signal.SIGTERM)
        second.start()
        flood.until_sent(PEOPLE)
    accepted = traffic.accepted()
    assert too_close(accepted, WINDOW_S, PEOPLE) == []
    assert len({arrival.to for arrival in accepted}) == PEOPLE
    assert traffic.count(m.SmsRateLimited) > len(accepted)


def test_without_a_window_the_same_people_are_texted_again_at_once(
    traffic: Traffic, start_worker: Callable[..., Worker], eventually: Eventually
) -> None:
    start_worker("notifications", RATE_WINDOW_S="0", **traffic.provider)
    traffic.queue(m.Severity.WARNING, range(2 * PEOPLE), people=PEOPLE)
    eventually(traffic.all_accepted, within_s=40)
    assert len(too_close(traffic.accepted(), WINDOW_S, PEOPLE)) == PEOPLE


def test_the_window_is_for_each_kind_of_alert(
    traffic: Traffic, start_worker: Callable[..., Worker], telnyx: TelnyxProcess, eventually: Eventually
) -> None:
    start_worker("notifications", SMS_WINDOW="strict", **traffic.provider)
    for kind in m.AlertKind:
        traffic.queue(m.Severity.INFO, range(PEOPLE), name=f"{kind}", kind=kind)
        traffic.queue(m.Severity.INFO, range(PEOPLE), name=f"{kind}-again", kind=kind)
    wanted = PEOPLE * len(m.AlertKind)
    eventually(lambda: traffic.count(m.SmsRateLimited) == wanted, within_s=40, every_s=0.2)
    assert telnyx.counts().accepted == wanted
    assert not [arrival for arrival in traffic.accepted() if "again" in arrival.text]
