"""A request on its way through the stages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from schemas.headers import Origin

if TYPE_CHECKING:
    from schemas import messages as m
    from streams.engine.consumer import Batch, Record


class Job:
    """One request of a batch, and whether it is settled."""

    __slots__ = ("batch", "origin", "request", "settled")

    def __init__(self, batch: Batch, record: Record, request: m.SmsRequest) -> None:
        self.batch = batch
        self.origin = Origin.of(record)
        self.request = request
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self, error: BaseException | None = None) -> None:
        if self.settled.done():
            return
        if error is None:
            self.settled.set_result(None)
        else:
            self.settled.set_exception(error)

    @property
    def is_wanted(self) -> bool:
        return self.batch.still_ours() and not self.batch.must_end()
