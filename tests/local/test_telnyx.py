"""The fake Telnyx answers as Telnyx does, and misbehaves as ordered."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from local.telnyx.behaviour import Behaviour
from local.telnyx.messages import segments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.telnyx.client import TelnyxProcess
    from tests.conftest import Eventually

ANNA, BEN = "+12025550101", "+12025550102"
MESSAGE = {
    "from": "+12025550100",
    "to": ANNA,
    "text": "Walk-in freezer 2: -9.5 C, limit -15 C",
    "messaging_profile_id": "profile-1",
    "webhook_url": "",
    "webhook_failover_url": "",
}


@pytest.fixture
def provider(telnyx: TelnyxProcess) -> Iterator[httpx.Client]:
    """A client that knows the API key."""
    headers = {"authorization": f"Bearer {telnyx.api_key}"}
    with httpx.Client(base_url=telnyx.url, headers=headers, timeout=5, trust_env=False) as client:
        yield client


def send(provider: httpx.Client, **changed: object) -> httpx.Response:
    return provider.post("/v2/messages", json=MESSAGE | changed)


def first_error(answer: httpx.Response) -> dict[str, Any]:
    (error,) = answer.json()["errors"]
    assert isinstance(error, dict)
    return error


def test_a_message_is_accepted_with_an_id_and_waits_in_the_queue(telnyx: TelnyxProcess, provider: httpx.Client) -> None:
    answer = send(provider)

    assert answer.status_code == 200
    data = answer.json()["data"]
    assert data["to"] == [
        {"phone_number": ANNA, "status": "queued", "carrier": "Fake", "line_type": "Wireless"},
    ]
    assert (data["parts"], data["encoding"], data["record_type"]) == (1, "GSM-7", "message")
    (arrival,) = telnyx.log().arrivals
    assert (arrival.accepted, arrival.message_id, arrival.status) == (True, data["id"], 200)
    assert (arrival.to, arrival.text) == (ANNA, MESSAGE["text"])
    assert abs(arrival.at_s - time.monotonic()) < 5
    assert abs(arrival.at_ms / 1000 - time.time()) < 5


def test_an_accepted_message_can_be_asked_for_until_it_is_delivered(
    telnyx: TelnyxProcess, provider: httpx.Client, eventually: Eventually
) -> None:
    message_id = send(provider).json()["data"]["id"]

    def status() -> str:
        return str(provider.get(f"/v2/messages/{message_id}").json()["data"]["to"][0]["status"])

    eventually(lambda: status() == "delivered")
    assert first_error(provider.get("/v2/messages/unknown"))["code"] == "10005"
    assert [(lookup.message_id, lookup.status) for lookup in telnyx.log().lookups][-1] == ("unknown", 404)


def test_a_wrong_or_missing_key_is_401_with_code_10009(telnyx: TelnyxProcess, provider: httpx.Client) -> None:
    for key in ("Bearer wrong", "", f"Basic {telnyx.api_key}"):
        answer = provider.post("/v2/messages", json=MESSAGE, headers={"authorization": key})
        assert (answer.status_code, first_error(answer)["code"]) == (401, "10009")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"to": ""}, "10004"),
        ({"from": ""}, "10004"),
        ({"messaging_profile_id": ""}, "10004"),
        ({"to": "2025550101"}, "10016"),
        ({"to": "+1 202 555 0101"}, "10016"),
        ({"from": "FRESH"}, "40305"),
        ({"text": ""}, "40316"),
        ({"text": "x" * 1601}, "40302"),
        ({"webhook_url": "ftp://example.com/x"}, "10003"),
        ({"webhook_failover_url": "example.com"}, "10003"),
        ({"text": 5}, "10015"),
    ],
)
def test_a_bad_payload_is_refused_with_telnyx_s_code(
    provider: httpx.Client, changed: dict[str, object], code: str
) -> None:
    answer = send(provider, **changed)
    assert 400 <= answer.status_code < 500
    assert first_error(answer)["code"] == code
    assert first_error(answer).keys() == {"code", "title", "detail"}


def test_the_longest_text_is_accepted_and_counted_in_parts(provider: httpx.Client) -> None:
    assert send(provider, text="x" * 1600).json()["data"]["parts"] == 11


def test_a_degree_sign_turns_160_characters_into_70() -> None:
    assert segments("C" * 160) == ("GSM-7", 1)
    assert segments("C" * 161) == ("GSM-7", 2)
    assert segments("°" + "C" * 69) == ("UTF-16", 1)
    assert segments("°" + "C" * 70) == ("UTF-16", 2)
    assert segments("[" * 80) == ("GSM-7", 1)
    assert segments("[" * 81) == ("GSM-7", 2)


def test_a_rate_limit_says_when_to_come_back_and_ends_after_its_times(
    telnyx: TelnyxProcess, provider: httpx.Client
) -> None:
    telnyx.behave(Behaviour(status=429, retry_after_s=7, ratelimit_reset_s=8, times=2), Behaviour(status=503, times=1))

    answers = [send(provider) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [429, 429, 503, 200]
    assert first_error(answers[0])["code"] == "10011"
    assert answers[0].headers["retry-after"] == "7"
    assert answers[0].headers["x-ratelimit-reset"] == "8"
    assert first_error(answers[2])["code"] == "10007"


def test_any_error_code_can_be_ordered_and_for_one_number_alone(telnyx: TelnyxProcess, provider: httpx.Client) -> None:
    telnyx.behave(Behaviour(code="40300", title="Blocked due to STOP message"), number=BEN)
    telnyx.behave(Behaviour(code="20100"))

    blocked, poor = send(provider, to=BEN), send(provider, to=ANNA)
    telnyx.behave()

    assert (blocked.status_code, first_error(blocked)["code"]) == (400, "40300")
    assert first_error(blocked)["title"] == "Blocked due to STOP message"
    assert (poor.status_code, first_error(poor)["code"]) == (402, "20100")
    assert [send(provider, to=number).status_code for number in (ANNA, BEN)] == [200, 400]


def test_a_slow_answer_takes_its_time(telnyx: TelnyxProcess, provider: httpx.Client) -> None:
    telnyx.behave(Behaviour(delay_ms=120))
    begin = time.monotonic()
    assert send(provider).status_code == 200
    assert time.monotonic() - begin >= 0.12


@pytest.mark.parametrize("accept", [True, False])
def test_a_dropped_connection_gives_no_answer_whether_the_message_was_sent_or_not(
    telnyx: TelnyxProcess, provider: httpx.Client, accept: bool
) -> None:
    telnyx.behave(Behaviour(answer="drop", accept=accept, times=1))

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        send(provider)

    (arrival,) = telnyx.log().arrivals
    assert (arrival.status, arrival.accepted, arrival.message_id is not None) == (None, accept, accept)
    assert send(provider).status_code == 200


def test_a_hanging_answer_never_comes_and_ends_when_the_client_gives_up(
    telnyx: TelnyxProcess, provider: httpx.Client, eventually: Eventually
) -> None:
    telnyx.behave(Behaviour(answer="hang", times=1))
    with pytest.raises(httpx.ReadTimeout):
        provider.post("/v2/messages", json=MESSAGE, timeout=0.2)
    assert telnyx.counts().accepted == 1
    eventually(lambda: telnyx.counts().in_flight == 0)


def test_the_log_tells_how_many_were_in_flight(telnyx: TelnyxProcess, provider: httpx.Client) -> None:
    telnyx.behave(Behaviour(delay_ms=200))
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda _: send(provider), range(5)))
    log = telnyx.log()
    assert log.most_in_flight == 5
    assert sorted(arrival.in_flight for arrival in log.arrivals) == [1, 2, 3, 4, 5]
    assert telnyx.log(since=3).arrivals == log.arrivals[3:]


def test_a_reset_leaves_no_order_and_no_log(telnyx: TelnyxProcess, provider: httpx.Client) -> None:
    telnyx.behave(Behaviour(status=500))
    send(provider)
    telnyx.reset()
    assert telnyx.log().arrivals == []
    assert send(provider).status_code == 200


def test_orders_that_make_no_sense_are_refused(telnyx: TelnyxProcess) -> None:
    bad = httpx.post(f"{telnyx.url}/control/behaviour", json={"behaviours": [{"staus": 500}]}, trust_env=False)
    assert bad.status_code == 422
    assert re.search("staus", bad.text)
