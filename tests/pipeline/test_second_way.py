"""A page always reaches somebody, on the real stack: through an outage, without PostgreSQL, beside another alert."""

from __future__ import annotations

import os
import re
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from local.ports import LOOPBACK, free_port
from local.processes import OwnedProcess
from local.telnyx.behaviour import Behaviour
from local.telnyx.client import TelnyxProcess
from schemas import messages as m
from schemas.messages import encode
from tests.pipeline.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from local.mailbox.client import MailboxProcess
    from tests.conftest import Eventually
    from tests.pipeline.conftest import Space, Worker

pytestmark = pytest.mark.broker

ADA = "+12025550101"
NO_DATABASE = "postgresql://nobody@127.0.0.1:1/nothing"
SECOND_WAY_S, OUTAGE_S = 3.0, 20.0


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[TelnyxProcess]:
    """One of the test's own, for it is ill."""
    with TelnyxProcess(tmp_path) as running:
        yield running


def environment(provider: TelnyxProcess, **more: str) -> dict[str, str]:
    return {
        "TELNYX_API_URL": provider.url,
        "TELNYX_API_KEY": provider.api_key,
        "TELNYX_FROM": "+12025550199",
        "TELNYX_MESSAGING_PROFILE_ID": "profile-1",
        **more,
    }


def furnish(space: Space) -> None:
    """One contact, and fridges called Vaccines, Milk and Meat."""
    ada = m.Contact(user_id="ada", organization_id="org-1", name="Ada", phone_e164=ADA, email="ada@example.com")
    space.send("contacts", ada.user_id, encode(ada))
    for name in ("Vaccines", "Milk", "Meat"):
        unit = m.UnitConfig(unit_id=name.lower(), organization_id="org-1", name=name)
        space.send("units", unit.unit_id, encode(unit))
    space.flush()


def breach(space: Space, unit_id: str, celsius: float = 9.1) -> None:
    at_ms = int(time.time() * 1000)
    alert = m.AlertTriggered(
        alert_id=f"alert-{unit_id}",
        unit_id=unit_id,
        organization_id="org-1",
        rule_id="high",
        kind=m.AlertKind.TEMPERATURE_HIGH,
        severity=m.Severity.CRITICAL,
        started_at_ms=at_ms,
        at_ms=at_ms,
        temperature_c=celsius,
        limit_c=8.0,
    )
    space.send("alerts", unit_id, encode(alert))
    space.flush()


def accepted(provider: TelnyxProcess) -> list[str]:
    return [arrival.text for arrival in provider.log().arrivals if arrival.accepted and arrival.to == ADA]


def test_one_contact_and_a_long_outage_a_mail_soon_and_one_sms_at_the_end(
    space: Space,
    start_worker: Callable[..., Worker],
    provider: TelnyxProcess,
    mailbox: MailboxProcess,
    eventually: Eventually,
) -> None:
    """Ten minutes of 503 and a mail after a minute, scaled. The mail needs no database."""
    furnish(space)
    provider.behave(Behaviour(status=503))
    start_worker("notifications", **environment(provider, SECOND_WAY_S=f"{SECOND_WAY_S}"))
    start_worker(
        "digests",
        DATABASE_URL=NO_DATABASE,
        PUBLIC_URL="https://freshtrack.example.com",
        UNSUBSCRIBE_SECRET="a secret of the tests alone",
        **mailbox.environment,
    )
    breach(space, "vaccines")
    eventually(lambda: provider.counts().arrivals >= 1, within_s=60, what="the first try")
    begun = time.monotonic()
    mails = eventually(mailbox.mails, within_s=30, every_s=0.1, what="the mail")
    assert len(mails) == 1
    assert mails[0].subject == "CRITICAL: Vaccines 9.1 C (by e-mail: no SMS so far)"
    eventually(lambda: time.monotonic() > begun + OUTAGE_S, within_s=OUTAGE_S + 5, what="an outage of some length")
    assert accepted(provider) == []
    provider.behave()
    eventually(lambda: accepted(provider), within_s=40, every_s=0.1, what="the page")
    # Another page is behind it on the same way: when it is there, nothing of the first is under way.
    breach(space, "milk", 8.4)
    eventually(lambda: any("Milk" in text for text in accepted(provider)), within_s=60, what="the second page")
    assert [("Vaccines" in text, "Milk" in text) for text in accepted(provider)] == [(True, False), (False, True)]
    assert len(mailbox.mails()) == 1


def test_further_fridges_are_named_in_one_sms_within_the_window(
    space: Space, start_worker: Callable[..., Worker], provider: TelnyxProcess, eventually: Eventually
) -> None:
    furnish(space)
    start_worker("notifications", **environment(provider, SMS_GATHER_S="3"))
    breach(space, "meat", 11.0)
    eventually(lambda: accepted(provider), within_s=60, what="the first page")
    breach(space, "vaccines")
    breach(space, "milk", 8.4)
    eventually(lambda: len(accepted(provider)) >= 2, within_s=30, what="the second page")
    first, *others = accepted(provider)
    assert "Meat" in first
    assert len(others) == 1
    assert "Vaccines 9.1 C" in others[0]
    assert "Milk 8.4 C" in others[0]


@contextmanager
def api_without_database(space: Space, provider: TelnyxProcess, eventually: Eventually) -> Iterator[str]:
    port = free_port()
    variables = {
        **space.environment,
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": NO_DATABASE,
        "TELNYX_PUBLIC_KEY": provider.public_key,
    }
    process = OwnedProcess(
        [sys.executable, "-m", "cli", "api", "--port", str(port)],
        log=space.folder / "api.log",
        folder=ROOT,
        env={**os.environ, **variables},
    )
    try:
        url = f"http://{LOOPBACK}:{port}"

        def answers() -> bool:
            try:
                return httpx.get(f"{url}/healthz", trust_env=False).status_code < 500
            except httpx.TransportError:
                return False

        eventually(answers, within_s=40, every_s=0.2, what="the api to answer")
        yield url
    finally:
        process.kill()


def test_with_postgresql_away_an_answer_by_sms_stops_the_reminder_and_is_confirmed(
    space: Space, start_worker: Callable[..., Worker], provider: TelnyxProcess, eventually: Eventually
) -> None:
    furnish(space)
    with api_without_database(space, provider, eventually) as url:
        start_worker(
            "notifications",
            **environment(provider, TELNYX_WEBHOOK_URL=url, ESCALATION_WAIT_S="8", SMS_GATHER_S="0.5"),
        )
        breach(space, "vaccines")
        (page,) = eventually(lambda: accepted(provider), within_s=60, what="the page")
        code = re.search(r"Reply (ACK \d{4})", page)
        assert code is not None
        provider.answer_sms(ADA, code[1])
        eventually(
            lambda: any(text.startswith("ACKNOWLEDGED: Vaccines") for text in accepted(provider)),
            within_s=30,
            what="the confirmation",
        )
        # Nobody answers this one: its reminder comes after the time at which the first one's would have come.
        breach(space, "milk", 8.4)
        eventually(
            lambda: any("REMINDER" in text and "Milk" in text for text in accepted(provider)),
            within_s=60,
            what="the reminder of the other alert",
        )
    assert not any("REMINDER" in text and "Vaccines" in text for text in accepted(provider))
