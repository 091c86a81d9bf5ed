"""Sending what follows from a batch: everything is at the broker when `publish` returns, or it raises."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import msgspec
from aiokafka.errors import KafkaError

from schemas.topics import TOPICS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import faust

    from schemas.topic import AnyTopic

# A record's key, headers and framing count towards the broker's limit as well.
FRAMING_BYTES = 512
HEADERS_BYTES = 16_384


class PublishError(Exception):
    """Something was not acknowledged; it may be at the broker or not. The batch must not be committed.

    `acknowledged` has the places, in the call's order, of what certainly is at the broker.
    """

    def __init__(self, why: str = "", acknowledged: frozenset[int] = frozenset()) -> None:
        super().__init__(why)
        self.acknowledged = acknowledged


class RecordTooLargeError(PublishError):
    """A record is larger than the producer may send; nothing of its call was sent."""


class Outgoing(msgspec.Struct, frozen=True):
    """A record to send; the publisher puts the deployment's prefix before the topic's name.

    Without `partition` the key decides (murmur2).
    """

    topic: AnyTopic
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None
    timestamp_ms: int | None = None

    @property
    def size(self) -> int:
        """Bytes on the wire, about."""
        return len(self.key or b"") + len(self.value or b"") + self.headers_size

    @property
    def headers_size(self) -> int:
        return sum(len(name) + len(value) for name, value in self.headers)


async def publish(app: faust.App, records: Sequence[Outgoing], *, limit_s: float | None = None) -> None:
    """Send the records, in order per partition, and wait until the broker has all of them.

    Raises RecordTooLargeError before anything is sent, PublishError when a record was refused or not acknowledged
    within `limit_s` (the app's `send_limit_s`). A flow lets it pass: the worker ends, the batch is read again.
    """
    if not records:
        return
    _check_sizes(records, app.conf.producer_max_request_size)
    limit_s = app.send_limit_s if limit_s is None else limit_s
    async with sending(f"{len(records)} records ({_topics(records)})", limit_s) as sent:
        producer = app.producer._ensure_producer()  # noqa: SLF001 - Faust's own `send` costs ten times as much
        now_ms = int(time.time() * 1000)
        for record in records:
            future = await producer.send(
                app.worker_settings.topic(record.topic.name),
                record.value,
                key=record.key,
                partition=record.partition,
                timestamp_ms=now_ms if record.timestamp_ms is None else record.timestamp_ms,
                # aiokafka takes no other kind of `str`, such as that of `schemas.headers.Header`.
                headers=[(str(name), value) for name, value in record.headers],
            )
            sent.append(future)


@contextlib.asynccontextmanager
async def sending(what: str, limit_s: float) -> AsyncIterator[list[asyncio.Future[Any]]]:
    """The one place where a failed send is seen: the body appends its futures, all are awaited at its end.

    Raises PublishError when one fails, or when body and futures together take longer than `limit_s`.
    """
    sent: list[asyncio.Future[Any]] = []
    failure: BaseException | None = None
    try:
        async with asyncio.timeout(limit_s):
            try:
                yield sent
            except Exception as error:  # noqa: BLE001 - raised below, once it is known what became of the others
                failure = error
            if sent:
                await asyncio.wait(sent)
    except TimeoutError:
        failure = failure or TimeoutError(f"no acknowledgement within {limit_s:g} s")
    finally:
        # Nobody else looks at those that fail later.
        for future in sent:
            future.add_done_callback(_error_of)
    failure = next(filter(None, map(_error_of, sent)), failure)
    if failure is not None:
        acknowledged = frozenset(i for i, future in enumerate(sent) if future.done() and _error_of(future) is None)
        raise PublishError(f"only {len(acknowledged)} of {what} arrived: {failure!r}", acknowledged) from failure


def _error_of(future: asyncio.Future[Any]) -> BaseException | None:
    """Why a send failed; None while it is under way."""
    if not future.done():
        return None
    return PublishError("the send was cancelled") if future.cancelled() else future.exception()


async def know_topics(app: faust.App, *, limit_s: float = 5.0) -> None:
    """Ask for the partitions of each of our topics, so that the first record of each need not wait for the answer.

    Where the broker does not answer in time, the first record will.
    """
    producer = app.producer._ensure_producer()  # noqa: SLF001 - see `publish`
    names = [app.worker_settings.topic(topic.name) for topic in TOPICS]
    with contextlib.suppress(TimeoutError, KafkaError):
        async with asyncio.timeout(limit_s):
            await asyncio.gather(*(producer.partitions_for(name) for name in names))


def _check_sizes(records: Sequence[Outgoing], producer_limit: int) -> None:
    for record in records:
        limit = min(producer_limit, record.topic.max_message_bytes)
        if record.headers_size > HEADERS_BYTES:
            raise RecordTooLargeError(
                f"a record for {record.topic.name} with key {record.key!r} has {record.headers_size:,} bytes of"
                f" headers, the limit is {HEADERS_BYTES:,}; nothing was sent"
            )
        if record.size + FRAMING_BYTES > limit:
            raise RecordTooLargeError(
                f"a record for {record.topic.name} with key {record.key!r} has {record.size:,} bytes, the limit is"
                f" {limit - FRAMING_BYTES:,}; nothing was sent"
            )


def _topics(records: Sequence[Outgoing]) -> str:
    return ", ".join(sorted({record.topic.name for record in records}))
