"""The durable timer that sends a failed request, SMS or mail, back to its topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import messages as m
from schemas.headers import Header, bounded, value_of
from streams.engine.timers import Timer

if TYPE_CHECKING:
    from schemas.topic import AnyTopic
    from streams.engine.consumer import Record

_CARRIED = (Header.TRACEPARENT, Header.ORIGINAL_TOPIC, Header.ORIGINAL_PARTITION, Header.ORIGINAL_OFFSET)


def redelivery_timer(
    retry: m.SmsRetry | m.EmailRetry, record: Record, topic: AnyTopic, *, kind: str, namespace: str = ""
) -> Timer:
    """Publishes the request of `retry` to `topic` when it is due.

    The timer's id combines request and attempt, so a re-run replaces it; `namespace` keeps it apart from other timers
    of its table.
    """
    request = retry.request
    id_ = f"{request.request_id}.{request.redrives}.{retry.attempt}"
    carried = tuple((name.value, value) for name in _CARRIED if (value := value_of(record.headers, name)) is not None)
    return Timer(
        timer_id=f"{namespace}{id_}",
        due_at_ms=retry.due_at_ms,
        topic=topic,
        key=request.user_id.encode(),
        value=m.encode(request),
        headers=(
            ("id", id_.encode()),
            ("type", kind.encode()),
            ("attempt", str(retry.attempt).encode()),
            ("error", bounded(retry.error)),
            ("error-code", bounded(retry.error_code)),
            ("due-at", str(retry.due_at_ms).encode()),
            *carried,
        ),
    )
