"""One question for many askers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from api.single_flight import SingleFlight

if TYPE_CHECKING:
    from tests.conftest import Eventually

pytestmark = pytest.mark.anyio


class Source:
    """Answers on command; counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.ready = asyncio.Event()

    async def ask(self) -> int:
        self.asked += 1
        await self.ready.wait()
        return self.asked


async def test_those_who_ask_meanwhile_get_the_same_answer_and_later_ones_a_new_one(eventually: Eventually) -> None:
    source, flights = Source(), SingleFlight[int]()
    askers = [asyncio.create_task(flights.call("key", source.ask)) for _ in range(5)]
    await eventually.awaited(lambda: source.asked)
    source.ready.set()
    assert await asyncio.gather(*askers) == [1] * 5
    assert await flights.call("key", source.ask) == 2


async def test_one_who_gives_up_does_not_take_the_answer_from_the_others(eventually: Eventually) -> None:
    source, flights = Source(), SingleFlight[int]()
    first, second = (asyncio.create_task(flights.call("key", source.ask)) for _ in range(2))
    await eventually.awaited(lambda: source.asked)
    first.cancel()
    await eventually.awaited(first.cancelled)
    source.ready.set()
    assert await second == 1
    assert first.cancelled()


async def test_an_error_reaches_all_and_is_not_kept() -> None:
    flights = SingleFlight[int]()
    answers = [7]

    async def ask() -> int:
        if len(answers) == 1:
            answers.append(8)
            raise ConnectionError("away")
        return answers[-1]

    failed = await asyncio.gather(*(flights.call("key", ask) for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in failed] == [ConnectionError] * 3
    assert await flights.call("key", ask) == 8
