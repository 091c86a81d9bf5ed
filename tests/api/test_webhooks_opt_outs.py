"""What people answer by SMS: acknowledgements for the worker, STOP and START for the contacts, masked in the log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.settings import TrustSettings
from database.configuration import ContactRow, OptOutRow
from schemas import messages as m
from schemas.topics import CONTACTS
from tests.api.provider_events import ABOUT, ANN, PUBLIC_KEY, answer_of, event, receipts, send
from tests.api.topic_records import records
from tests.api.worlds import furnish
from tests.outbox.relays import emptied, relaying

if TYPE_CHECKING:
    from broker.settings import KafkaSettings
    from tests.api_world import Api
    from tests.conftest import Eventually

pytestmark = [pytest.mark.anyio, pytest.mark.broker, pytest.mark.postgres]

NOBODY = "+12025550199"


@pytest.fixture
def kafka_address(kafka_settings: KafkaSettings) -> KafkaSettings:
    return kafka_settings


@pytest.fixture
def trust() -> TrustSettings:
    return TrustSettings(telnyx_public_key=PUBLIC_KEY)


@pytest.fixture
async def family(api: Api) -> Api:
    """Ann of acme and Anna of another organization share a phone; Bob has his own."""
    await furnish(api.database)
    async with AsyncSession(api.database) as session, session.begin():
        session.add(ContactRow(user_id="anna", organization_id="other", name="Anna", phone_e164=ANN))
        session.add(ContactRow(user_id="bob", organization_id="acme", name="Bob", phone_e164="+12025550102"))
    return api


async def result(api: Api, told: dict[str, Any]) -> str:
    # Answers come to the webhook of the last message, ids and all; they say nothing about who answered.
    answer = await send(api.client, told, ABOUT)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["result"])


async def opted_out(api: Api) -> list[str]:
    async with AsyncSession(api.database) as session:
        return list(await session.scalars(select(OptOutRow.phone_e164)))


async def contacts_told(api: Api) -> list[tuple[str, bool]]:
    told = []
    for topic, key, message in await api.outbox():
        assert topic == "contacts"
        assert message is not None
        told.append((key, message["sms_opted_out"]))
    return told


async def test_everybody_with_the_number_has_answered(family: Api) -> None:
    told = answer_of(ANN, "Ack 4821!")
    assert await result(family, told) in {"reply", "repeated"}

    expected = [
        m.InboundReply(event_id=told["data"]["id"], user_id=user, occurred_at_ms=1_772_366_400_250, text="Ack 4821!")
        for user in ("ann", "anna")
    ]
    assert sorted(receipts(family.kafka), key=lambda receipt: receipt.user_id) == expected
    assert await opted_out(family) == []
    assert await family.outbox() == []


async def test_older_accounts_name_the_sender_without_more(family: Api) -> None:
    told = event("message.received", {"id": "m2", "from": "+12025550102", "text": "ACK"})
    assert await result(family, told) in {"reply", "repeated"}
    assert [receipt.user_id for receipt in receipts(family.kafka)] == ["bob"]


@pytest.mark.parametrize("word", ["STOP", "Unsubscribe."])
async def test_a_stop_word_opts_the_number_out_and_tells_the_workers(family: Api, word: str) -> None:
    assert await result(family, answer_of(ANN, word)) in {"reply", "repeated"}
    # Sent again as another event: nothing is published twice.
    assert await result(family, answer_of(ANN, word)) in {"reply", "repeated"}

    assert await opted_out(family) == [ANN]
    assert await contacts_told(family) == [("ann", True), ("anna", True)]


async def test_the_opt_out_reaches_the_workers_topic(family: Api, eventually: Eventually) -> None:
    await result(family, answer_of(ANN, "STOP"))
    async with relaying(family.database, family.kafka):
        await eventually.awaited(emptied(family.database), within_s=30)

    told = [msgspec.json.decode(record.value or b"", type=m.Contact) for record in records(family.kafka, CONTACTS)]
    assert {(contact.user_id, contact.sms_opted_out) for contact in told} == {("ann", True), ("anna", True)}


async def test_a_start_word_takes_the_opt_out_back(family: Api) -> None:
    await result(family, answer_of(ANN, "STOP"))
    assert await result(family, answer_of(ANN, "unstop")) in {"reply", "repeated"}

    assert await opted_out(family) == []
    assert await contacts_told(family) == [("ann", True), ("anna", True), ("ann", False), ("anna", False)]


async def test_a_start_that_comes_late_does_not_undo_a_later_stop(family: Api) -> None:
    await result(family, answer_of(ANN, "STOP", occurred_at="2026-03-01T12:00:00Z"))
    await result(family, answer_of(ANN, "START", occurred_at="2026-03-01T11:59:59Z"))
    assert await opted_out(family) == [ANN]


async def test_many_stops_at_once_are_one_opt_out(family: Api) -> None:
    await asyncio.gather(*(result(family, answer_of(ANN, "STOP")) for _ in range(8)))
    assert await opted_out(family) == [ANN]
    assert await contacts_told(family) == [("ann", True), ("anna", True)]


async def test_a_call_for_help_is_logged_and_nothing_else(family: Api, capfd: pytest.CaptureFixture[str]) -> None:
    assert await result(family, answer_of(ANN, "Help!")) in {"help", "repeated"}
    assert receipts(family.kafka) == []
    assert await family.outbox() == []
    assert ANN not in "".join(capfd.readouterr())


@pytest.mark.parametrize("number", [NOBODY, "22395", "+1202\x00"])
async def test_an_unknown_number_is_taken_and_logged_masked(
    family: Api, number: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert await result(family, answer_of(number, "ACK 4821")) in {"unknown_number", "repeated"}
    assert receipts(family.kafka) == []
    logged = "".join(capfd.readouterr())
    assert "unknown_number" in logged
    assert NOBODY not in logged


async def test_a_stop_of_an_unknown_number_is_kept_for_whoever_adds_it(family: Api) -> None:
    assert await result(family, answer_of(NOBODY, "STOP")) in {"unknown_number", "repeated"}
    assert await opted_out(family) == [NOBODY]


async def test_a_picture_without_words_is_an_empty_answer_and_a_long_text_is_cut(family: Api) -> None:
    await result(family, answer_of("+12025550102", None))
    await result(family, answer_of("+12025550102", "x" * 5_000))
    lengths = [len(receipt.text) for receipt in receipts(family.kafka) if isinstance(receipt, m.InboundReply)]
    assert lengths == [0, 1_600]
