"""Commits: in order, never past unfinished work, never before what follows from it is at the broker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from faust.types import TP

    from streams.engine.broker_client import BrokerClient
    from streams.engine.partition import Partition
    from streams.engine.sends import Sends

log = structlog.get_logger(__name__)


class Commits:
    """Of the partitions that `partitions()` gives: another mapping with each assignment."""

    def __init__(self, client: BrokerClient, sends: Sends, partitions: Callable[[], Mapping[TP, Partition]]) -> None:
        self._client = client
        self._sends = sends
        self._partitions = partitions
        self._one_at_a_time = asyncio.Lock()

    async def commit(self, *, limit_s: float) -> bool:
        """Commit what is completed. False if there is nothing, or the broker does not take it now.

        Raises PublishError when a send has failed or hangs: then nothing may be committed any more.
        """
        async with self._one_at_a_time:
            # Also without offsets: a failed send must not go unnoticed until the next batch.
            self._sends.check()
            partitions = self._partitions()
            offsets = {tp: offset for tp, p in partitions.items() if (offset := p.committable) is not None}
            epochs = {tp: partitions[tp].epoch for tp in offsets}
            if not offsets:
                return False
            await self._sends.all_through()
            if self._partitions() is not partitions:
                # Others may have committed further in the generation that has begun.
                return False
            try:
                done = await self._client.commit(offsets, limit_s=limit_s)
            except (TimeoutError, KafkaError) as error:
                if isinstance(error, KafkaError) and not error.retriable:
                    raise
                log.warning("commit.failed", partitions=len(offsets), error=repr(error))
                return False
            for tp in offsets if done else ():
                if partitions[tp].epoch == epochs[tp]:
                    partitions[tp].committed = offsets[tp]
            return done
