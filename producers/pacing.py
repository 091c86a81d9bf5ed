"""Plays emissions at their times: the only place of the producers where a clock runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from confluent_kafka import KafkaError, Message

    from producers.kafka import ReadingsProducer
    from producers.simulator import Emission


def pace(
    emissions: Iterable[Emission],
    *,
    start_at_ms: int,
    stopped: Callable[[float], bool],
    speed: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Emission]:
    """Yield each emission when its time has come: `start_at_ms` is now, and `speed` 2 halves what lies between.

    `stopped` waits so many seconds, and says early when the work is to end: `threading.Event().wait` is one.
    What is overdue is yielded at once, so a slow consumer is followed by a burst and not by a growing delay.
    """
    if speed <= 0:
        raise ValueError(f"speed is {speed}, must be above 0: 1 is real time, 60 plays an hour in a minute")
    begin = clock()
    for emission in emissions:
        due = begin + (emission.due_at_ms - start_at_ms) / 1000 / speed
        while (wait_s := due - clock()) > 0:
            if stopped(wait_s):
                return
        if stopped(0):
            return
        yield emission


class Tally(msgspec.Struct):
    """What became of the batches that were sent."""

    sent: int = 0
    acknowledged: int = 0
    failed: int = 0
    last_error: str = ""

    def count(self, error: KafkaError | None, _: Message) -> None:
        """Take note of one batch's fate."""
        if error is None:
            self.acknowledged += 1
        else:
            self.failed += 1
            self.last_error = error.str()

    def __str__(self) -> str:
        told = f"sent {self.sent} messages, {self.acknowledged} acknowledged"
        return f"{told}, {self.failed} failed ({self.last_error})" if self.failed else told


def play(producer: ReadingsProducer, emissions: Iterable[Emission], *, time_limit_s: float = 30.0) -> Tally:
    """Send each emission as it comes, wait for the acknowledgements, and tell how it went.

    Raises what the producer raises: BatchError, QueueFullError, NotDeliveredError.
    """
    tally = Tally()
    for emission in emissions:
        producer.send_batch(emission.batch, on_delivery=tally.count)
        tally.sent += 1
    producer.flush(time_limit_s)
    return tally
