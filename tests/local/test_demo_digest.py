"""The demo's digest reports success or failure; the demo itself and tests/pipeline cover the rest."""

import asyncio

import pytest

from local import demo_digest
from local.demo_digest import send_digest


def sent(environment: dict[str, str]) -> tuple[bool, list[str]]:
    said: list[str] = []
    done = asyncio.run(send_digest(environment, "http://127.0.0.1:8025", said.append))
    return done, said


def test_it_says_where_to_find_the_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_digest, "COMMANDS", (("digest", "--help"),))
    assert sent({}) == (True, ["Yesterday's digest is on its way to the mailbox: http://127.0.0.1:8025"])


def test_a_command_that_fails_is_named_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_digest, "COMMANDS", (("digest", "send-now", "ann"), ("digest", "--help")))
    done, (sentence,) = sent({"DATABASE_URL": "mysql://nowhere"})
    assert not done
    assert "`digest send-now ann` ended with 2" in sentence
    assert "DATABASE_URL" in sentence
