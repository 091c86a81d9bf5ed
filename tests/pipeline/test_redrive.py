"""A dead SMS that a person sends again, through a real worker: it leaves once, under the request that it always was."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from broker.settings import KafkaSettings
from cli.contracts.asyncapi import headers_of
from domain.redrive.dead_letters import LetterId
from domain.redrive.redrive import Options
from local.telnyx.behaviour import Behaviour
from outbox.redrives import fetch, judge, send_again
from producers.kafka import KafkaProducer
from schemas import messages as m
from schemas.topics import SMS_DLQ, SMS_LANES
from tests.domain.redrive.letters import request
from tests.outbox.letter_box import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.telnyx.client import TelnyxProcess
    from tests.conftest import Eventually
    from tests.pipeline.conftest import Space, Worker

pytestmark = pytest.mark.broker

ANN = m.Contact(user_id="ann", organization_id="acme", name="Ann", phone_e164="+12025550101")


def test_a_dead_sms_that_is_sent_again_leaves_once_however_often_its_record_lies_in_the_lane(
    space: Space,
    start_worker: Callable[..., Worker],
    telnyx: TelnyxProcess,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in space.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    kafka = KafkaSettings()
    space.send("contacts", "ann", m.encode(ANN))
    space.flush()
    telnyx.behave(Behaviour(code="40310", times=1))
    start_worker(
        "notifications",
        TELNYX_API_URL=telnyx.url,
        TELNYX_API_KEY=telnyx.api_key,
        TELNYX_FROM="+12025550199",
        TELNYX_MESSAGING_PROFILE_ID="profile-1",
        RATE_WINDOW_S="0",
    )
    with KafkaProducer(kafka.librdkafka(), prefix=kafka.topic_prefix) as producer:

        def put(**fields: Any) -> None:
            wanted = request(requested_at_ms=time.time_ns() // 1_000_000, **fields)
            producer.publish(SMS_LANES[wanted.severity], "ann", m.encode(wanted), message_type="sms").result(20)

        put(request_id="r1", text="first")
        eventually(lambda: space.read("sms-dlq"), within_s=40, what="a dead letter")
        [dead] = space.read("sms-dlq")
        documented: Any = headers_of(SMS_DLQ, m.SmsDeadLetter)["properties"]
        assert set(dict(dead.headers() or ())) == set(documented)

        place = LetterId("sms-dlq", dead.partition() or 0, dead.offset() or 0)
        filed = fetch(kafka, place)
        assert filed is not None
        code, told = run("dead-letters", "redrive", str(place))
        assert code == 0, told
        eventually(lambda: telnyx.counts().accepted == 1, within_s=20, what="the SMS")
        # As after a crash between the record and its mark; what comes behind it shows that it was passed over.
        send_again(producer, judge([filed], now_ms=filed.facts.at_ms, options=Options()), by="eve", now_ms=0)
        put(request_id="r2", text="last")
        eventually(lambda: telnyx.counts().accepted >= 2, within_s=20, what="the SMS behind it")

    assert [arrival.text for arrival in telnyx.log().arrivals] == ["first", "first", "last"]
    assert len(space.read("sms-warning")) == 4
    assert len(space.read("sms-dlq")) == 1
