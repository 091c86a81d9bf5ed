"""The fake's webhooks: signed, repeated, failing over, and lost when ordered."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from local.telnyx.behaviour import Behaviour

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.telnyx.client import TelnyxProcess
    from tests.conftest import Eventually

ANNA, OURS = "+12025550101", "+12025550100"


class Receiver:
    """A webhook endpoint that keeps what it gets and answers with the statuses it is given, then 200."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.statuses: deque[int] = deque()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(receiver.statuses.popleft() if receiver.statuses else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body)["data"] for _, body in self.got]

    def types(self) -> list[str]:
        return [str(event["event_type"]) for event in self.events]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


@pytest.fixture
def failover() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


def send(telnyx: TelnyxProcess, url: str, failover_url: str = "") -> str:
    answer = httpx.post(
        f"{telnyx.url}/v2/messages",
        headers={"authorization": f"Bearer {telnyx.api_key}"},
        json={
            "from": OURS,
            "to": ANNA,
            "text": "Freezer 2 is warm",
            "messaging_profile_id": "profile-1",
            "webhook_url": url,
            "webhook_failover_url": failover_url,
        },
        trust_env=False,
    )
    assert answer.status_code == 200
    return str(answer.json()["data"]["id"])


def test_a_message_is_reported_sent_and_then_delivered(
    telnyx: TelnyxProcess, receiver: Receiver, eventually: Eventually
) -> None:
    message_id = send(telnyx, receiver.url)

    eventually(lambda: len(receiver.got) == 2)

    assert receiver.types() == ["message.sent", "message.finalized"]
    assert [event["payload"]["to"][0]["status"] for event in receiver.events] == ["sent", "delivered"]
    assert {event["payload"]["id"] for event in receiver.events} == {message_id}
    assert len({event["id"] for event in receiver.events}) == 2
    eventually(lambda: [delivery.status for delivery in telnyx.log().deliveries] == [200, 200])


def test_every_webhook_is_signed_over_its_time_and_raw_body(
    telnyx: TelnyxProcess, receiver: Receiver, eventually: Eventually
) -> None:
    send(telnyx, receiver.url)
    eventually(lambda: receiver.got)
    headers, body = receiver.got[0]
    key = VerifyKey(base64.b64decode(telnyx.public_key))
    stamp = headers["telnyx-timestamp"]
    signature = base64.b64decode(headers["telnyx-signature-ed25519"])

    key.verify(stamp.encode() + b"|" + body, signature)
    assert abs(int(stamp) - time.time()) < 5
    with pytest.raises(BadSignatureError):
        key.verify(stamp.encode() + b"|" + body + b" ", signature)


def test_a_webhook_is_tried_three_times_and_then_three_times_at_the_failover_url(
    telnyx: TelnyxProcess, receiver: Receiver, failover: Receiver, eventually: Eventually
) -> None:
    telnyx.behave(Behaviour(lose=("message.finalized",)))
    receiver.statuses.extend([500, 500, 500])
    failover.statuses.append(503)

    send(telnyx, receiver.url, failover.url)

    eventually(lambda: len(failover.got) == 2)
    assert len(receiver.got) == 3
    attempts = [json.loads(body)["meta"]["attempt"] for _, body in [*receiver.got, *failover.got]]
    assert attempts == [1, 2, 3, 4, 5]
    assert len({event["id"] for event in [*receiver.events, *failover.events]}) == 1


def test_a_delivery_that_fails_later_carries_its_error_code(
    telnyx: TelnyxProcess, receiver: Receiver, eventually: Eventually
) -> None:
    telnyx.behave(Behaviour(delivery="delivery_failed", delivery_code="40008"))
    send(telnyx, receiver.url)
    eventually(lambda: len(receiver.got) == 2)
    final = receiver.events[1]["payload"]
    assert final["to"][0]["status"] == "delivery_failed"
    assert final["errors"][0]["code"] == "40008"


def test_a_lost_receipt_never_comes_though_the_message_was_delivered(
    telnyx: TelnyxProcess, receiver: Receiver, eventually: Eventually
) -> None:
    telnyx.behave(Behaviour(lose=("message.sent", "message.finalized")))
    send(telnyx, receiver.url)
    eventually(lambda: telnyx.counts().webhooks_pending == 0)
    assert receiver.got == []
    assert telnyx.log().deliveries == []


def test_a_dropped_connection_still_sends_the_receipts(
    telnyx: TelnyxProcess, receiver: Receiver, eventually: Eventually
) -> None:
    telnyx.behave(Behaviour(answer="drop"))
    with pytest.raises(httpx.TransportError):
        send(telnyx, receiver.url)
    eventually(lambda: receiver.types() == ["message.sent", "message.finalized"])


def test_a_person_answers_the_last_sms(telnyx: TelnyxProcess, receiver: Receiver, eventually: Eventually) -> None:
    telnyx.behave(Behaviour(lose=("message.sent", "message.finalized")))
    send(telnyx, receiver.url)

    event_id = telnyx.answer_sms(ANNA, "ACK 4821")

    eventually(lambda: receiver.got)
    (event,) = receiver.events
    assert (event["id"], event["event_type"]) == (event_id, "message.received")
    assert event["payload"]["from"]["phone_number"] == ANNA
    assert event["payload"]["to"][0]["phone_number"] == OURS
    assert event["payload"]["text"] == "ACK 4821"


def test_an_unreachable_endpoint_is_told_in_the_log(
    telnyx: TelnyxProcess, receiver: Receiver, eventually: Eventually
) -> None:
    receiver.close()
    telnyx.behave(Behaviour(lose=("message.finalized",)))
    send(telnyx, receiver.url)
    eventually(lambda: [delivery.error for delivery in telnyx.log().deliveries] == ["ConnectError"] * 3)
