"""Critical before warning before info, also when the provider was away; what is less urgent still progresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.telnyx.behaviour import Behaviour
from schemas import messages as m
from tests.pipeline.sms_traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.telnyx.client import TelnyxProcess
    from tests.conftest import Eventually
    from tests.pipeline.conftest import Space, Worker

pytestmark = pytest.mark.broker

PROVIDER_MS = 50


@pytest.mark.parametrize(("backlog", "critical"), [(2_000, 100), pytest.param(20_000, 200, marks=pytest.mark.long)])
def test_critical_messages_overtake_a_backlog_that_still_progresses(
    backlog: int,
    critical: int,
    space: Space,
    start_worker: Callable[..., Worker],
    telnyx: TelnyxProcess,
    eventually: Eventually,
) -> None:
    traffic = Traffic(space, telnyx)
    traffic.people(backlog + critical)
    traffic.queue(m.Severity.INFO, range(backlog))
    telnyx.behave(Behaviour(delay_ms=PROVIDER_MS))
    start_worker("notifications", **traffic.provider)
    eventually(lambda: telnyx.counts().accepted >= 20, within_s=40, what="the backlog to be worked on")
    # Half at once, the rest one after the other.
    traffic.queue(m.Severity.CRITICAL, range(backlog, backlog + critical // 2))
    arrived_before = telnyx.counts().arrivals
    for number in range(backlog + critical // 2, backlog + critical):
        traffic.queue(m.Severity.CRITICAL, [number])
    eventually(lambda: "critical" not in {name.partition("-")[0] for name in traffic.missing()}, within_s=30)

    texts = [arrival.text for arrival in telnyx.log().arrivals]
    urgent = [place for place, text in enumerate(texts) if text.startswith("critical")]
    assert len(urgent) == critical
    # What was chosen already may be before them: as many as are under way at once, and those of two fetches.
    first_half = urgent[critical // 2 - 1] - arrived_before
    assert first_half < critical // 2 + 60, f"{first_half} arrivals until {critical // 2} critical ones were through"
    by_number = [int(texts[place].rpartition("-")[2]) for place in urgent]
    assert len(set(by_number)) == critical
    info_meanwhile = urgent[-1] - arrived_before - critical
    assert telnyx.counts().arrivals < backlog, "the backlog was gone before it could delay anything"
    before = telnyx.counts().accepted
    eventually(
        lambda: telnyx.counts().accepted > before + 20, what=f"the backlog to go on ({info_meanwhile} meanwhile)"
    )
