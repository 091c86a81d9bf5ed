"""What the tests stand on: waiting with a deadline, and the choice of a broker."""

from __future__ import annotations

import time
from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING

import pytest

from local.ports import free_port
from tests.docker_broker import contained_broker, docker_answers

if TYPE_CHECKING:
    from tests.conftest import Eventually, Kafka, Postgres


def test_waiting_returns_the_first_truthy_value(eventually: Eventually) -> None:
    numbers = count()
    assert eventually(lambda: next(numbers)) == 1


def test_waiting_fails_at_the_deadline_and_names_what_it_waited_for(eventually: Eventually) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"not within 0\.05 s: a full moon \(last value: 0\)"):
        eventually(lambda: 0, within_s=0.05, what="a full moon")


@pytest.mark.anyio
async def test_waiting_takes_async_conditions(eventually: Eventually) -> None:
    numbers = count()

    async def condition() -> bool:
        return next(numbers) == 3

    assert await eventually.awaited(condition) is True
    assert await eventually.awaited(lambda: next(numbers)) == 4


def test_a_docker_engine_that_gives_no_answer_is_passed_over_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{free_port()}")
    begin = time.monotonic()
    assert not docker_answers()
    with ExitStack() as stack:
        assert contained_broker(stack) is None
    assert time.monotonic() - begin < 10


@pytest.mark.broker
@pytest.mark.postgres
def test_the_session_s_servers_say_where_they_are(kafka: Kafka, postgres: Postgres) -> None:
    assert kafka.bootstrap
    assert postgres.url.startswith("postgresql+asyncpg://")
    if kafka.embedded is not None:
        assert kafka.embedded.bootstrap == kafka.bootstrap
    if postgres.embedded is not None:
        assert postgres.embedded.url == postgres.url
