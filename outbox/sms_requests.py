"""Finds an SMS request in the lanes, and its last outcome: what a rerun needs.

Only the lanes have a request's text. They keep it for 7 days, well beyond the age at which a rerun is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from domain.redrive.redrive import Past
from outbox.topic_scan import scan
from schemas import messages as m
from schemas.topics import SMS_LANES, SMS_OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.settings import KafkaSettings

_decode_request = msgspec.json.Decoder(m.SmsRequest).decode
_decode_outcome = msgspec.json.Decoder(m.Outcome).decode


def find_sms(
    kafka: KafkaSettings,
    request_id: str,
    *,
    user_id: str,
    severities: Iterable[m.Severity],
    since_ms: int | None,
    limit_s: float,
) -> Past | None:
    """The newest redrive of a user's request and its last outcome; None if no lane has it. Raises TopicReadError.

    Reads the user's partition only, and only what came after `since_ms` if that is given.
    """
    newest: tuple[int, int, m.SmsRequest] | None = None
    for severity in severities:
        lane = SMS_LANES[severity]
        for found in scan(kafka, lane, key=user_id, since_ms=since_ms, limit_s=limit_s):
            request = _request(found.value, request_id)
            # The outcomes of a redrive begin at its first record; its retries come later.
            if request is not None and (newest is None or request.redrives > newest[0]):
                newest = request.redrives, found.at_ms, request
    if newest is None:
        return None
    _, came_at_ms, request = newest
    outcome: str | None = None
    for found in scan(kafka, SMS_OUTCOMES, key=user_id, since_ms=came_at_ms, limit_s=limit_s):
        decided = _outcome(found.value, request_id)
        if decided is not None:
            outcome = str(type(decided).__struct_config__.tag)
    return Past(request, outcome)


def _request(value: bytes | None, request_id: str) -> m.SmsRequest | None:
    if value is None or request_id.encode() not in value:
        return None
    try:
        request = _decode_request(value)
    except msgspec.MsgspecError:
        return None
    return request if request.request_id == request_id else None


def _outcome(value: bytes | None, request_id: str) -> m.Outcome | None:
    if value is None or request_id.encode() not in value:
        return None
    try:
        outcome = _decode_outcome(value)
    except msgspec.MsgspecError:
        return None
    return outcome if outcome.request_id == request_id else None
