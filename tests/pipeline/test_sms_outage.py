"""The provider is away for a while: afterwards everything arrives, the most urgent first, and nothing was given up."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import pytest

from local.telnyx.behaviour import Behaviour
from local.telnyx.client import TelnyxProcess
from schemas import messages as m
from tests.pipeline.sms_traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Eventually
    from tests.pipeline.conftest import Space, Worker

pytestmark = pytest.mark.broker

Outage = Literal["refusing", "failing", "hanging"]
OUTAGES: tuple[Outage, ...] = ("refusing", "failing", "hanging")
EACH = 40
TIMEOUT_S = 0.5
# As many as are under way at once may swap places.
SLACK = 20
RANKS = {severity.value: severity.rank for severity in m.Severity}


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[TelnyxProcess]:
    """One of the test's own, for it is stopped."""
    with TelnyxProcess(tmp_path) as running:
        yield running


@contextmanager
def away(provider: TelnyxProcess, outage: Outage) -> Iterator[None]:
    if outage == "refusing":
        provider.stop()
        yield
        provider.start()
        return
    provider.behave(Behaviour(status=503) if outage == "failing" else Behaviour(answer="hang", accept=False))
    yield
    provider.behave()


def rank(text: str) -> int:
    return RANKS[text.partition("-")[0]]


def overtaken(texts: list[str]) -> list[str]:
    """Those that came after something less urgent, and not only because they were under way together."""
    worst_before = -1
    found = []
    for place, text in enumerate(texts):
        if place >= SLACK:
            worst_before = max(worst_before, rank(texts[place - SLACK]))
        if rank(text) < worst_before:
            found.append(text)
    return found


@pytest.mark.parametrize("outage", OUTAGES)
def test_everything_arrives_after_an_outage_in_the_order_of_urgency_and_nothing_is_given_up(
    outage: Outage,
    space: Space,
    start_worker: Callable[..., Worker],
    provider: TelnyxProcess,
    eventually: Eventually,
) -> None:
    traffic = Traffic(space, provider)
    traffic.people(3 * EACH + 1)
    worker = start_worker("notifications", SMS_TIMEOUT_S=f"{TIMEOUT_S}", **traffic.provider)
    traffic.queue(m.Severity.INFO, [0])
    eventually(traffic.all_accepted, within_s=40)
    with away(provider, outage):
        # The least urgent come first.
        for place, severity in enumerate(reversed(m.SEVERITIES)):
            traffic.queue(severity, range(place * EACH + 1, (place + 1) * EACH + 1))
        eventually(lambda: b"provider.paused" in worker.log.read_bytes(), within_s=30, what="the outage to be noticed")
        noticed = time.monotonic()
        eventually(lambda: time.monotonic() > noticed + 3, what="an outage of some length")
        tried = {outcome.request_id for outcome in traffic.outcomes() if isinstance(outcome, m.SmsSending)}
    back = provider.counts().arrivals
    del traffic.queued[0]
    eventually(lambda: not traffic.missing(), within_s=40, every_s=0.2, what="everything to arrive")
    kinds = Counter(type(outcome) for outcome in traffic.outcomes())
    assert kinds[m.SmsDead] == 0
    assert traffic.sent_again() == 0
    untried = [a.text for a in provider.log().arrivals[back:] if a.accepted and a.text not in tried]
    assert len(untried) > 2 * EACH, "too many were tried in vain"
    assert overtaken(untried) == []
    waits_s = tied_up_s(traffic)
    assert max(waits_s) < TIMEOUT_S + 1.0


@pytest.mark.long
def test_a_few_messages_outlive_a_provider_that_hangs_for_longer_than_their_attempts_last(
    space: Space, start_worker: Callable[..., Worker], provider: TelnyxProcess, eventually: Eventually
) -> None:
    traffic = Traffic(space, provider)
    traffic.people(3)
    start_worker("notifications", SMS_TIMEOUT_S=f"{TIMEOUT_S}", **traffic.provider)
    with away(provider, "hanging"):
        traffic.queue(m.Severity.CRITICAL, range(3))
        # With each try the wait grows by 5 s: the third attempt of all is over after this.
        eventually(lambda: provider.counts().arrivals >= 12, within_s=120, every_s=0.2, what="enough tries in vain")
    eventually(traffic.all_accepted, within_s=60, every_s=0.2, what="everything to arrive")
    assert traffic.count(m.SmsDead) == 0


def tied_up_s(traffic: Traffic) -> list[float]:
    """How long each attempt held its place: from what the ledger was told before to what it was told after."""
    begun: dict[tuple[str, int], int] = {}
    waits_s = []
    ends = (m.SmsSent, m.SmsFailed, m.SmsUnknown)
    for outcome in sorted(traffic.outcomes(), key=lambda outcome: outcome.at_ms):
        attempt = outcome.request_id, outcome.attempt
        if isinstance(outcome, m.SmsSending):
            begun[attempt] = outcome.at_ms
        elif isinstance(outcome, ends) and attempt in begun:
            waits_s.append((outcome.at_ms - begun.pop(attempt)) / 1000)
    return waits_s
