"""Which units the ingest knows while it asks the database about others; without a database or a broker."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from api.authentication import Caller
from api.ingest import Ingest
from api.settings import ApiSettings
from api.submission_forms import Part
from schemas import messages as m
from schemas.roles import Role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from producers.kafka import ReadingsProducer
    from tests.conftest import Eventually

pytestmark = pytest.mark.anyio

GATEWAY = Caller("key", Role.GATEWAY, "acme")


class SlowDatabase:
    """It has every unit, and answers when it is `ready`."""

    def __init__(self) -> None:
        self.asked = 0
        self.ready = asyncio.Event()
        self.ready.set()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[SlowDatabase]:
        self.asked += 1
        await self.ready.wait()
        yield self

    async def execute(self, wanted: Any) -> SlowDatabase:
        [ids] = wanted.compile().params.values()
        self.found = [(unit_id, None) for unit_id in ids]
        return self

    def all(self) -> list[tuple[str, None]]:
        return self.found


class Sink:
    def send_batch(self, batch: m.ReadingBatch, on_delivery: Any, wait_s: float) -> None:
        on_delivery(None, None)


def parts(*unit_ids: str) -> list[Part]:
    return [Part(unit_id, [m.Reading(1_772_366_400_000, 4.0)]) for unit_id in unit_ids]


async def test_a_unit_that_changes_while_another_is_looked_up_is_not_refused(eventually: Eventually) -> None:
    database = SlowDatabase()
    ingest = Ingest(cast("Any", database), cast("ReadingsProducer", Sink()), ApiSettings(), lambda: 0.0)
    await ingest.send(parts("fridge"), GATEWAY, 10)
    database.ready.clear()
    submission = parts("fridge", "freezer")
    sending = asyncio.create_task(ingest.send(submission, GATEWAY, 10))
    await eventually.awaited(lambda: database.asked == 2)
    # Somebody saves the fridge's configuration.
    ingest.forget("acme/fridge")
    database.ready.set()
    await sending
    assert [part.item().refusals for part in submission] == [[], []]
