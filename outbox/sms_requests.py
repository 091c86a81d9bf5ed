"""Finds an SMS request in the lanes again, and what became of it: what a re-run needs.

The lanes are the only place that has a request's text; they keep it for 7 days, well beyond the age at which a re-run
is refused. So nothing else stores it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from domain.redrive.redrive import Past
from outbox.redrives import SEND_LIMIT_S, headers
from outbox.topic_scan import scan
from schemas import messages as m
from schemas.topics import SMS_LANES, SMS_OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.settings import KafkaSettings
    from domain.redrive.redrive_record import Revived
    from producers.kafka import Delivery, KafkaProducer
    from schemas.topics import AnyTopic

FIND_LIMIT_S = 30.0

_decode_request = msgspec.json.Decoder(m.SmsRequest).decode
_decode_outcome = msgspec.json.Decoder(m.Outcome).decode


def find_sms(
    kafka: KafkaSettings,
    request_id: str,
    *,
    user_id: str | None = None,
    severities: Iterable[m.Severity] = m.SEVERITIES,
    since_ms: int | None = None,
    limit_s: float = FIND_LIMIT_S,
) -> Past | None:
    """The newest form of a request and its last outcome; None when no lane has it. Raises TopicReadError.

    With the user only the user's partition of each lane is read, and with `since_ms` only what came after that.
    """
    newest: tuple[int, int, m.SmsRequest] | None = None
    partition = -1
    for severity in severities:
        lane = SMS_LANES[severity]
        partitions = None if user_id is None else [partition_of(user_id, lane)]
        for found in scan(kafka, lane, partitions=partitions, since_ms=since_ms, limit_s=limit_s):
            request = _request(found.value, request_id)
            # The first record of the newest redrive is where its outcomes begin; retries of it come later.
            if request is not None and (newest is None or request.redrives > newest[0]):
                newest = request.redrives, found.at_ms, request
                partition = found.partition
    if newest is None:
        return None
    _, came_at_ms, request = newest
    outcome: str | None = None
    for found in scan(kafka, SMS_OUTCOMES, partitions=[partition], since_ms=came_at_ms, limit_s=limit_s):
        decided = _outcome(found.value, request_id)
        if decided is not None:
            outcome = str(type(decided).__struct_config__.tag)
    return Past(request, outcome)


def send_rerun(producer: KafkaProducer, revived: Revived, *, limit_s: float = SEND_LIMIT_S) -> Delivery:
    """Publish a request that is sent again and wait for the broker. Raises NotDeliveredError."""
    future = producer.publish(
        revived.topic,
        revived.key,
        revived.value,
        message_type=revived.message_type,
        record_id=revived.message_id,
        more_headers=headers(revived, None),
    )
    producer.flush(limit_s)
    return future.result(0)


def partition_of(key: str, topic: AnyTopic) -> int:
    """Where every producer of ours puts a key."""
    from aiokafka.partitioner import murmur2

    return int(murmur2(key.encode()) & 0x7FFF_FFFF) % topic.partitions


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
