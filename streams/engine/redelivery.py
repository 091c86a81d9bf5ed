"""The durable timer that brings a failed request back to its topic, be it an SMS or a mail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import messages as m
from schemas.headers import Header
from streams.engine.timers import Timer

if TYPE_CHECKING:
    from streams.engine.consumer import Record

_CARRIED = (Header.TRACEPARENT, Header.ORIGINAL_TOPIC, Header.ORIGINAL_PARTITION, Header.ORIGINAL_OFFSET)


def return_timer(
    retry: m.SmsRetry | m.EmailRetry, record: Record, topic: str, *, kind: str, namespace: str = ""
) -> Timer:
    """At its due time the request of `retry` goes to `topic`.

    The timer's id is made of the request and the attempt, so a re-run replaces it; `namespace` parts it from other
    timers of its table.
    """
    request = retry.request
    id_ = f"{request.request_id}.{request.redrives}.{retry.attempt}"
    carried = tuple((name, value) for name, value in record.headers if name in _CARRIED)
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
            ("error", retry.error.encode()),
            ("error-code", retry.error_code.encode()),
            ("due-at", str(retry.due_at_ms).encode()),
            *carried,
        ),
    )
