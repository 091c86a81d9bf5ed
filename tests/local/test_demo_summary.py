"""The demo's summary tells how it went; the whole way is in the demo itself and in tests/pipeline."""

import asyncio

import pytest

from local import demo_summary
from local.demo_summary import send_summary


def told(environment: dict[str, str]) -> tuple[bool, list[str]]:
    said: list[str] = []
    done = asyncio.run(send_summary(environment, "http://127.0.0.1:8025", said.append))
    return done, said


def test_where_to_find_the_mail_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_summary, "COMMANDS", (("digest", "--help"),))
    assert told({}) == (True, ["The summary of yesterday is on its way to the mailbox: http://127.0.0.1:8025"])


def test_a_command_that_fails_is_named_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_summary, "COMMANDS", (("digest", "send-now", "ann"), ("digest", "--help")))
    done, (sentence,) = told({"DATABASE_URL": "mysql://nowhere"})
    assert not done
    assert "`digest send-now ann` ended with 2" in sentence
    assert "DATABASE_URL" in sentence
