"""The demo's servers answer this machine's programs, and no website that is open beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from local.mailbox.client import MailboxProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.telnyx.client import TelnyxProcess


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailboxProcess]:
    with MailboxProcess(tmp_path_factory.mktemp("mailbox")) as running:
        yield running


def ask(url: str, method: str = "GET", **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.request(method, url, headers=named, trust_env=False).status_code


@pytest.mark.parametrize("host", ["rebound.example.com", "127.0.0.1.example.com", "", "[::1", "192.0.2.1"])
def test_a_name_that_is_not_this_machine_is_refused(mailbox: MailboxProcess, telnyx: TelnyxProcess, host: str) -> None:
    assert ask(f"{mailbox.url}/api/mails", Host=host) == 421
    assert ask(f"{telnyx.url}/control/log", Host=host) == 421


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:8025"])
def test_this_machines_own_names_are_answered(mailbox: MailboxProcess, host: str) -> None:
    assert ask(f"{mailbox.url}/api/mails", Host=host) == 200


def test_another_site_changes_nothing(mailbox: MailboxProcess, telnyx: TelnyxProcess) -> None:
    for headers in (
        {"Origin": "https://attacker.example.com"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ):
        assert ask(f"{mailbox.url}/api/mails", "DELETE", **headers) == 403
        assert ask(f"{telnyx.url}/control/inbound", "POST", **headers) == 403
        assert ask(f"{telnyx.url}/v2/messages", "POST", **headers) == 403


def test_the_own_pages_and_programs_may_change_things(mailbox: MailboxProcess) -> None:
    assert ask(f"{mailbox.url}/api/mails", "DELETE") == 204
    assert ask(f"{mailbox.url}/api/mails", "DELETE", Origin=mailbox.url, Sec_Fetch_Site="same-origin") == 204
