"""Workers that are killed at any moment lose no SMS; what might go out twice waits for a receipt, or is recorded."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from schemas import messages as m
from tests.pipeline.receipt_intake import ReceiptIntake
from tests.pipeline.sms_traffic import SHORT_SESSION, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.telnyx.client import TelnyxProcess
    from tests.conftest import Eventually
    from tests.pipeline.conftest import Space, Worker

pytestmark = pytest.mark.broker

CARELESS = "tests.pipeline.careless_worker"
QUICK = {"SMS_PER_SECOND": "400", "SMS_GLOBAL_CAP": "20", "SMS_CONCURRENCY": "10", **SHORT_SESSION}
RECEIPT_WAIT_S = 3.0
AT_ONCE = 10
TAKE_OVER_S = 15.0
TRICKLE = 120


class Storm(msgspec.Struct, frozen=True):
    """So many SMS, and a worker that is killed so often while they go out and started again."""

    messages: int
    kills: int
    limit_s: float


SHORT = Storm(400, 2, 60)
LONG = Storm(5_000, 20, 400)
STORMS = (SHORT, pytest.param(LONG, marks=pytest.mark.long))


@pytest.fixture
def traffic(space: Space, telnyx: TelnyxProcess) -> Traffic:
    return Traffic(space, telnyx)


def rage(traffic: Traffic, storm: Storm, start: Callable[[], Worker], eventually: Eventually) -> None:
    """Kill after a random number of SMS each time, so that they lie all over the traffic."""
    rng = random.Random(storm.messages)
    traffic.people(storm.messages)
    traffic.queue(m.Severity.WARNING, range(storm.messages))
    worker = start()
    each = storm.messages // (storm.kills + 1)
    for kill in range(storm.kills):
        goal = each * kill + rng.randrange(each // 4, each)
        arrived(traffic, goal, eventually)
        worker.kill()
        worker.start()
    eventually(traffic.all_accepted, within_s=storm.limit_s, every_s=0.2, what="every SMS to arrive")


def arrived(traffic: Traffic, count: int, eventually: Eventually) -> None:
    eventually(lambda: traffic.telnyx.counts().accepted >= count, within_s=120, what=f"{count} SMS")


def ready(worker: Worker, eventually: Eventually) -> None:
    eventually(lambda: b"worker.ready" in worker.log.read_bytes(), within_s=60, what=f"{worker.log.name} to be ready")


def wait_until(moment_s: float, eventually: Eventually) -> None:
    eventually(lambda: time.monotonic() >= moment_s)


@pytest.mark.parametrize("storm", STORMS)
def test_without_receipts_a_kill_repeats_at_most_what_was_in_flight_and_tells_of_it(
    storm: Storm, traffic: Traffic, start_worker: Callable[..., Worker], eventually: Eventually
) -> None:
    rage(traffic, storm, lambda: start_worker("notifications", **QUICK, **traffic.provider), eventually)
    assert traffic.missing() == set()
    assert traffic.sent_again() <= AT_ONCE * storm.kills
    eventually(lambda: len(sent_requests(traffic)) == storm.messages, within_s=20, every_s=0.3)
    unknown = {outcome.request_id for outcome in traffic.outcomes() if isinstance(outcome, m.SmsUnknown)}
    assert repeated(traffic) <= unknown


@pytest.mark.parametrize("storm", STORMS)
def test_with_receipts_nothing_is_sent_twice(
    storm: Storm, traffic: Traffic, start_worker: Callable[..., Worker], eventually: Eventually
) -> None:
    with ReceiptIntake(traffic.space) as intake:
        receipts = {"TELNYX_WEBHOOK_URL": intake.url, "RECEIPT_WAIT_S": f"{RECEIPT_WAIT_S}"}
        rage(traffic, storm, lambda: start_worker("notifications", **QUICK, **receipts, **traffic.provider), eventually)
        assert traffic.missing() == set()
        eventually(lambda: len(sent_requests(traffic)) == storm.messages, within_s=20, every_s=0.3)
    assert repeated(traffic) == set()


def test_a_worker_that_forgets_what_it_sent_is_found_out(
    traffic: Traffic, start_worker: Callable[..., Worker], eventually: Eventually
) -> None:
    # Without the rate limit too: it would see that these people were texted.
    settings = QUICK | {"COMMIT_INTERVAL_S": "30", "RATE_WINDOW_S": "0"}

    def start() -> Worker:
        return start_worker(
            "notifications",
            module=CARELESS,
            CARELESS="ledger",
            **settings,
            **traffic.provider,
        )

    rage(traffic, Storm(200, 1, 60), start, eventually)
    assert traffic.sent_again() > AT_ONCE


def test_another_worker_takes_over_from_a_killed_one_in_time_and_nothing_is_lost(
    traffic: Traffic, start_worker: Callable[..., Worker], eventually: Eventually
) -> None:
    """With the production's session timeout. A message every tenth of a second shows how long nobody served it."""
    traffic.people(TRICKLE)
    workers = [start_worker("notifications", **traffic.provider) for _ in range(2)]
    for worker in workers:
        ready(worker, eventually)
    queued_s: dict[str, float] = {}
    begin = time.monotonic()
    for number in range(TRICKLE):
        wait_until(begin + number / 10, eventually)
        if number == TRICKLE // 6:
            workers[0].kill()
        queued_s[f"critical-{number}"] = time.monotonic()
        traffic.queue(m.Severity.CRITICAL, [number])
    eventually(traffic.all_accepted, within_s=30, every_s=0.1, what="every SMS to arrive")
    waited_s = [arrival.at_s - queued_s[arrival.text] for arrival in traffic.accepted()]
    assert 5 < max(waited_s) < TAKE_OVER_S, "the killed one had nothing, or nobody took over in time"
    assert traffic.sent_again() <= AT_ONCE


def sent_requests(traffic: Traffic) -> set[str]:
    return {outcome.request_id for outcome in traffic.outcomes() if isinstance(outcome, m.SmsSent | m.SmsDelivered)}


def repeated(traffic: Traffic) -> set[str]:
    """The texts that the provider took more than once."""
    seen: set[str] = set()
    again: set[str] = set()
    for arrival in traffic.accepted():
        (again if arrival.text in seen else seen).add(arrival.text)
    return again
