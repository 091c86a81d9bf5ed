"""The client against a server on the loopback that answers as a test tells it to, byte by byte where it matters."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import TYPE_CHECKING

import msgspec
import pytest

from domain.notification.answers import Accepted, Answer, NoAnswer, Refused, Unanswered
from streams.notifications.provider import ProviderStatus, Sms, WebhookIds
from streams.notifications.telnyx.client import TelnyxClient, TelnyxSettings
from streams.notifications.telnyx.codes import delivery_failed, refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.anyio

KEY = "KEY-very-secret"
SMS = Sms(to_e164="+12025550123", text="CRITICAL: freezer", ids=WebhookIds(user="u", request="r", attempt="a-1"))
TAKEN = b'{"data":{"id":"403171cc","parts":2,"to":[{"status":"queued"}],"errors":[],"unknown":{"field":1}}}'


class Request(msgspec.Struct):
    line: str
    headers: dict[str, str]
    body: bytes


class Provider:
    """Answers every request with `raw`; None keeps silent, b"" closes the connection."""

    def __init__(self, raw: bytes | None) -> None:
        self.raw = raw
        self.requests: list[Request] = []
        self.pieces = 1
        self.released = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *fields = head.strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.requests.append(Request(line, headers, body))
            if self.raw is None:
                await self.released.wait()
            else:
                writer.write(self.raw[: len(self.raw) // self.pieces])
                if self.pieces > 1:
                    await writer.drain()
                    await self.released.wait()
        finally:
            writer.close()


def http(status: str, body: bytes = b"", **headers: str) -> bytes:
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{fields}\r\n".encode() + body


def refusal(code: str, title: str = "why") -> bytes:
    return msgspec.json.encode({"errors": [{"code": code, "title": title, "detail": "more"}]})


@asynccontextmanager
async def provider(raw: bytes | None, *, timeout_s: float = 5.0) -> AsyncIterator[tuple[Provider, TelnyxClient]]:
    served = Provider(raw)
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with TelnyxClient(settings(port, timeout_s)) as client:
        try:
            yield served, client
        finally:
            served.released.set()
            server.close()
            await server.wait_closed()


def settings(port: int, timeout_s: float = 5.0) -> TelnyxSettings:
    return TelnyxSettings(
        api_key=KEY,
        from_e164="+12025550100",
        messaging_profile_id="profile-1",
        base_url=f"http://127.0.0.1:{port}",
        webhook_url="http://127.0.0.1",
        timeout_s=timeout_s,
        connections=20,
    )


async def answer_to(raw: bytes | None, *, timeout_s: float = 5.0) -> Answer:
    async with provider(raw, timeout_s=timeout_s) as (_, client):
        return await client.send(SMS)


async def test_a_message_goes_out_with_key_profile_and_webhook() -> None:
    async with provider(http("200 OK", TAKEN)) as (served, client):
        assert await client.send(SMS) == Accepted("403171cc", 2)
    (request,) = served.requests
    assert request.line == "POST /v2/messages HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert msgspec.json.decode(request.body) == {
        "from": "+12025550100",
        "to": "+12025550123",
        "text": "CRITICAL: freezer",
        "messaging_profile_id": "profile-1",
        "webhook_url": "http://127.0.0.1/webhooks/telnyx?user=u&request=r&attempt=a-1",
    }


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        # the provider's own error
        (http("422 Unprocessable Entity", refusal("40310")), refused("40310", 422, "why")),
        # a number where a string should be
        (http("400 Bad Request", b'{"errors":[{"code":10015}]}'), refused("10015", 400, "")),
        # a proxy's page
        (http("503 Service Unavailable", b"<html>"), refused("http-503", 503, "Service Unavailable")),
        (http("401 Unauthorized"), refused("http-401", 401, "Unauthorized")),
        # an empty list of errors names no code
        (http("500 Oh", b'{"errors":[]}'), refused("http-500", 500, "Oh")),
        # a redirect is not followed: the key would go along
        (http("302 Found", location="http://127.0.0.1:9/"), refused("http-302", 302, "Found")),
        # too fast: the provider says how long to wait
        (
            http("429 Too Many Requests", refusal("10011"), retry_after="7", x_ratelimit_reset="33"),
            refused("10011", 429, "why", 7.0),
        ),
        (
            http("429 Too Many Requests", refusal("10011"), x_ratelimit_reset="33"),
            refused("10011", 429, "why", 33.0),
        ),
        (http("429 Too Many Requests", refusal("10011"), retry_after="soon"), refused("10011", 429, "why")),
        (http("429 Too Many Requests", refusal("10011"), retry_after="nan"), refused("10011", 429, "why")),
        (http("429 Too Many Requests", refusal("10011"), retry_after="-3"), refused("10011", 429, "why")),
    ],
)
async def test_a_refusal_is_reported_with_its_code(raw: bytes, expected: Refused) -> None:
    assert await answer_to(raw) == expected


@pytest.mark.parametrize(("ahead_s", "least_s", "most_s"), [(30, 25, 30), (-30, 0, 0)])
async def test_a_date_to_wait_for_becomes_seconds(ahead_s: float, least_s: float, most_s: float) -> None:
    date = formatdate(time.time() + ahead_s, usegmt=True)
    answer = await answer_to(http("429 Too Many Requests", refusal("10011"), retry_after=date))
    assert isinstance(answer, Refused)
    assert answer.retry_after_s is not None
    assert least_s <= answer.retry_after_s <= most_s


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        # the connection ends without an answer
        (b"", NoAnswer.CONNECTION_LOST),
        # ... or with half of one
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", NoAnswer.CONNECTION_LOST),
        (b"SMTP says hello\r\n\r\n", NoAnswer.CONNECTION_LOST),
        # taken, but by which id?
        (http("200 OK", b"<html>welcome</html>"), NoAnswer.UNREADABLE),
        (http("200 OK", b'{"data":{}}'), NoAnswer.UNREADABLE),
        (http("200 OK", b'{"data":{"id":""}}'), NoAnswer.UNREADABLE),
        (http("204 No Content"), NoAnswer.UNREADABLE),
        # a proxy gave up waiting
        (http("504 Gateway Timeout", b"<html>"), NoAnswer.TIMEOUT),
        (http("408 Request Timeout"), NoAnswer.TIMEOUT),
    ],
)
async def test_without_a_usable_answer_the_message_may_have_arrived(raw: bytes, kind: NoAnswer) -> None:
    answer = await answer_to(raw)
    assert isinstance(answer, Unanswered)
    assert answer.kind is kind
    assert answer.may_have_arrived


async def test_a_silent_provider_ties_up_no_more_than_the_time_limit() -> None:
    begin = time.monotonic()
    answer = await answer_to(None, timeout_s=0.2)
    assert answer == Unanswered(NoAnswer.TIMEOUT, "no answer within 0.2 s")
    assert time.monotonic() - begin < 2


async def test_a_provider_that_stops_in_the_middle_of_its_answer_is_held_to_the_time_limit() -> None:
    async with provider(http("200 OK", TAKEN), timeout_s=0.2) as (served, client):
        served.pieces = 2
        answer = await client.send(SMS)
    assert isinstance(answer, Unanswered)
    assert answer.kind is NoAnswer.TIMEOUT


async def test_a_message_that_never_left_is_known_not_to_have_arrived() -> None:
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with TelnyxClient(settings(port)) as client:
        answer = await client.send(SMS)
    assert isinstance(answer, Unanswered)
    assert answer.kind is NoAnswer.NOT_CONNECTED
    assert not answer.may_have_arrived


async def test_one_request_is_made_and_never_a_second_one() -> None:
    async with provider(http("503 Service Unavailable", connection="close")) as (served, client):
        await client.send(SMS)
    assert len(served.requests) == 1


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            http("200 OK", b'{"data":{"id":"m","to":[{"status":"delivered"}],"errors":[]}}'),
            ProviderStatus("delivered"),
        ),
        (
            http("200 OK", b'{"data":{"id":"m","to":[{"status":"delivery_failed"}],"errors":[{"code":"40008"}]}}'),
            ProviderStatus("delivery_failed", delivery_failed("40008")),
        ),
        (http("404 Not Found", refusal("10005")), refused("10005", 404, "why")),
        (http("200 OK", b"?"), Unanswered(NoAnswer.UNREADABLE, "HTTP status 200 without a status")),
    ],
)
async def test_the_provider_is_asked_where_a_message_stands(
    raw: bytes, expected: ProviderStatus | Refused | Unanswered
) -> None:
    async with provider(raw) as (served, client):
        assert await client.status("m/../x") == expected
    assert served.requests[0].line == "GET /v2/messages/m%2F..%2Fx HTTP/1.1"


@pytest.mark.parametrize("raw", [http("200 OK", TAKEN), http("401 Unauthorized", refusal("10009")), b""])
async def test_neither_key_nor_number_is_ever_logged_or_printed(
    raw: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = await answer_to(raw)
    shown: Callable[[object], str] = repr
    everything = caplog.text + "".join(capfd.readouterr()) + shown(answer) + shown(SMS) + shown(settings(1))
    assert KEY not in everything
    assert "5550123" not in everything
