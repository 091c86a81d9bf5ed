"""What people send us by SMS goes to the workers as it came, with or without the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.settings import TrustSettings
from schemas import messages as m
from tests.api.provider_events import ABOUT, ANN, PUBLIC_KEY, answer_of, event, inbound, receipts, send

if TYPE_CHECKING:
    from broker.settings import KafkaSettings
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.broker, pytest.mark.postgres]

NOBODY = "+12025550199"


@pytest.fixture
def kafka_address(kafka_settings: KafkaSettings) -> KafkaSettings:
    return kafka_settings


@pytest.fixture
def trust() -> TrustSettings:
    return TrustSettings(telnyx_public_key=PUBLIC_KEY)


async def result(api: Api, told: dict[str, Any]) -> str:
    # Answers come to the webhook of the last message, ids and all; they say nothing about who answered.
    answer = await send(api.client, told, ABOUT)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["result"])


@pytest.mark.parametrize(("number", "text"), [(ANN, "Ack 4821!"), (ANN, "STOP"), (NOBODY, "START")])
async def test_a_reply_is_in_kafka_as_it_came_when_the_answer_comes(api: Api, number: str, text: str) -> None:
    told = answer_of(number, text)
    assert await result(api, told) in {"reply", "repeated"}
    assert inbound(api.kafka) == [
        m.InboundSms(event_id=told["data"]["id"], phone_e164=number, occurred_at_ms=1_772_366_400_250, text=text)
    ]
    assert receipts(api.kafka) == []
    assert await api.outbox() == []


async def test_older_accounts_name_the_sender_without_more(api: Api) -> None:
    told = event("message.received", {"id": "m2", "from": "+12025550102", "text": "ACK"})
    assert await result(api, told) in {"reply", "repeated"}
    assert [sms.phone_e164 for sms in inbound(api.kafka)] == ["+12025550102"]


async def test_a_call_for_help_is_logged_and_nothing_else(api: Api, capfd: pytest.CaptureFixture[str]) -> None:
    assert await result(api, answer_of(ANN, "Help!")) in {"help", "repeated"}
    assert inbound(api.kafka) == []
    assert ANN not in "".join(capfd.readouterr())


@pytest.mark.parametrize("number", ["22395", "+1202\x00"])
async def test_what_is_no_phone_number_is_taken_and_logged(
    api: Api, number: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert await result(api, answer_of(number, "ACK 4821")) in {"unknown_number", "repeated"}
    assert inbound(api.kafka) == []
    assert "unknown_number" in "".join(capfd.readouterr())


async def test_a_picture_without_words_is_an_empty_text_and_a_long_text_is_cut(api: Api) -> None:
    await result(api, answer_of(ANN, None))
    await result(api, answer_of(ANN, "x" * 5_000))
    assert sorted(len(sms.text) for sms in inbound(api.kafka)) == [0, 1_600]
