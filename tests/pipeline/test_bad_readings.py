"""Whatever lies in `readings` on a real broker: each record is used, or lies in the dead letters with its reason."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from confluent_kafka import Producer

from schemas import messages as m
from schemas.messages import DeadLetterReason as Reason
from schemas.messages import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Eventually
    from tests.pipeline.conftest import Space, Worker

pytestmark = pytest.mark.broker

NOW_MS = int(time.time() * 1000)
DECODE_LETTER = msgspec.json.Decoder(m.DeadReading).decode
DECODE_ALERT = msgspec.json.Decoder(m.Alert).decode


def unit(unit_id: str) -> m.UnitConfig:
    rule = m.Rule(rule_id="hot", limit=m.Limit.HIGH, severity=m.Severity.CRITICAL, limit_c=8.0)
    return m.UnitConfig(unit_id=unit_id, organization_id="org", name=unit_id, rules=(rule,))


def configure(space: Space, *unit_ids: str) -> None:
    for unit_id in unit_ids:
        space.send("units", unit_id, encode(unit(unit_id)))
    space.flush()


def reading(unit_id: str, temperature_c: float, second: int) -> bytes:
    return encode(m.ReadingBatch(unit_id, [m.Reading(NOW_MS + second * 1000, temperature_c)]))


def document(readings: str, unit_id: str = "good") -> bytes:
    return f'{{"unit_id":"{unit_id}","readings":[{readings}]}}'.encode()


def one(temperature_c: str, at_ms: int = NOW_MS) -> bytes:
    return document(f'{{"at_ms":{at_ms},"temperature_c":{temperature_c}}}')


BAD = [
    ("good", None, Reason.NULL_VALUE),
    ("good", b"", Reason.NOT_JSON),
    ("good", b"\x00\x01\xff", Reason.NOT_JSON),
    ("good", b"temperature=5", Reason.NOT_JSON),
    ("good", b"[1]", Reason.WRONG_SHAPE),
    ("good", one('"5"'), Reason.WRONG_SHAPE),
    ("good", document(""), Reason.EMPTY_BATCH),
    ("good", one("NaN"), Reason.NOT_FINITE),
    ("good", one("-Infinity"), Reason.NOT_FINITE),
    ("good", one('"NaN"'), Reason.NOT_FINITE),
    ("good", one("1e999"), Reason.NOT_FINITE),
    ("good", one("-127"), Reason.IMPOSSIBLE_TEMPERATURE),
    ("good", one("5", NOW_MS + 86_400_000), Reason.FUTURE_TIME),
    ("good", one("5", NOW_MS // 1000), Reason.IMPOSSIBLE_TIME),
    ("unheard-of", document('{"at_ms":1795000000000,"temperature_c":5}', "unheard-of"), Reason.UNKNOWN_UNIT),
    (None, one("5"), Reason.MISSING_KEY),
    ("other", one("5"), Reason.KEY_MISMATCH),
    ("good", b" " * 2_000_000 + one("5"), Reason.TOO_LARGE),
    ("good", b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", Reason.NOT_JSON),
]


def letters(space: Space) -> dict[tuple[int, int], m.DeadReading]:
    found = [DECODE_LETTER(message.value() or b"") for message in space.read("readings-dlq")]
    return {(letter.partition, letter.offset): letter for letter in found}


def alerts(space: Space) -> list[tuple[str, str]]:
    found = [DECODE_ALERT(message.value() or b"") for message in space.read("alerts")]
    return sorted({(alert.unit_id, type(alert).__name__) for alert in found})


def test_every_bad_record_is_a_dead_letter_and_the_good_ones_between_them_count(
    space: Space, start_worker: Callable[..., Worker], eventually: Eventually
) -> None:
    configure(space, "good")
    large = Producer(
        {
            "bootstrap.servers": space.bootstrap,
            "partitioner": "murmur2_random",
            "message.max.bytes": 4_000_000,
        }
    )
    sent: dict[tuple[int, int], Reason] = {}

    def send(key: str | None, value: bytes | None, reason: Reason | None) -> None:
        def keep(_: object, message: object) -> None:
            if reason is not None:
                sent[message.partition(), message.offset()] = reason  # type: ignore[attr-defined]

        large.produce(space.topic("readings"), key=key, value=value, on_delivery=keep)

    for second, (key, value, reason) in enumerate(BAD):
        send("good", reading("good", 5.0, second), None)
        send(key, value, reason)
    # Half of this batch is bad; the other half is where the breach begins and ends.
    mixed = [(5.0, 100), (999.0, 101), (9.0, 102), (5.0, 103)]
    readings = ",".join(f'{{"at_ms":{NOW_MS + second * 1000},"temperature_c":{c}}}' for c, second in mixed)
    send("good", document(readings), Reason.IMPOSSIBLE_TEMPERATURE)
    assert large.flush(20) == 0
    worker = start_worker("detection")

    eventually(lambda: len(letters(space)) == len(sent), within_s=40, what="a dead letter for each bad record")
    found = letters(space)
    assert {place: letter.reason for place, letter in found.items()} == sent
    for message in space.read("readings-dlq"):
        headers = dict(message.headers() or [])
        place = int(headers["original-partition"] or 0), int(headers["original-offset"] or 0)
        assert headers["error-code"] == found[place].reason.encode()
        assert headers["error"] == found[place].detail.encode()
        assert headers["original-topic"] == space.topic("readings").encode()
    eventually(lambda: alerts(space) == [("good", "AlertResolved"), ("good", "AlertTriggered")], within_s=20)
    assert worker.running()


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_batches_of_every_codec_are_read(
    codec: str, space: Space, start_worker: Callable[..., Worker], eventually: Eventually
) -> None:
    configure(space, "u")
    producer = Producer(
        {
            "bootstrap.servers": space.bootstrap,
            "compression.type": codec,
            "partitioner": "murmur2_random",
            "linger.ms": 50,
        }
    )
    for second in range(200):
        producer.produce(space.topic("readings"), key="u", value=reading("u", 9.0 if second == 150 else 5.0, second))
    assert producer.flush(20) == 0
    worker = start_worker("detection")
    eventually(lambda: alerts(space) == [("u", "AlertResolved"), ("u", "AlertTriggered")], within_s=40)
    assert worker.running()


def test_offset_gaps_of_transactions_stop_nothing(
    space: Space, start_worker: Callable[..., Worker], eventually: Eventually
) -> None:
    configure(space, "u")
    worker = start_worker("detection")
    settings = {"bootstrap.servers": space.bootstrap, "partitioner": "murmur2_random"}
    idempotent = Producer(settings | {"enable.idempotence": True})
    transactional = Producer(settings | {"transactional.id": space.prefix})
    transactional.init_transactions(20)
    for second in range(0, 60, 3):
        transactional.begin_transaction()
        transactional.produce(space.topic("readings"), key="u", value=reading("u", 5.0, second))
        transactional.commit_transaction(20)
        idempotent.produce(space.topic("readings"), key="u", value=reading("u", 5.0, second + 1))
        assert idempotent.flush(20) == 0
        transactional.begin_transaction()
        transactional.produce(space.topic("readings"), key="u", value=reading("u", 5.0, second + 2))
        transactional.flush(20)
        transactional.abort_transaction(20)
    transactional.begin_transaction()
    transactional.produce(space.topic("readings"), key="u", value=reading("u", 9.0, 60))
    transactional.commit_transaction(20)
    eventually(lambda: alerts(space) == [("u", "AlertTriggered")], within_s=40)
    # The log ends with a control record, and the worker's restart has to get past it.
    worker.end()
    worker.start()
    idempotent.produce(space.topic("readings"), key="u", value=reading("u", 5.0, 61))
    assert idempotent.flush(20) == 0
    eventually(lambda: ("u", "AlertResolved") in alerts(space), within_s=40)
    assert worker.running()
