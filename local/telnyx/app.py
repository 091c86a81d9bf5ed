"""The fake as an ASGI application."""

from __future__ import annotations

import asyncio
import hmac
import time
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

import msgspec

from local.telnyx import messages
from local.telnyx.behaviour import Behaviour, Orders, Script
from local.telnyx.messages import Message, RefusedError
from local.telnyx.records import Arrival, Counts, Log, Lookup
from local.telnyx.webhooks import Webhooks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

encode = msgspec.json.encode


class Inbound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /control/inbound`: a person sends an SMS to our number.

    `to` and `webhook_url` default to those of the last message that this person was sent.
    """

    sender: str = msgspec.field(name="from")
    text: str
    to: str = ""
    webhook_url: str = ""


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class FakeTelnyx:
    """One fake account: its API key, its messages, its orders and its log."""

    def __init__(self, api_key: str) -> None:
        self._bearer = f"Bearer {api_key}".encode()
        self._script = Script()
        self._log = Log(arrivals=[], lookups=[], deliveries=[])
        self._messages: dict[str, Message] = {}
        self._last_to: dict[str, Message] = {}
        self._webhooks = Webhooks(api_key, self._log.deliveries)
        self._released = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path: str = scope["path"]
        body = await _read(receive)
        if scope["method"] == "POST" and path == "/v2/messages":
            answer = await self._send_message(scope, body, receive)
        elif path.startswith("/v2/messages/") and scope["method"] == "GET":
            message_id = path.removeprefix("/v2/messages/")
            answer = self._one_message(scope, message_id)
            lookup = Lookup(
                message_id=message_id, at_ms=time.time() * 1000, at_s=time.monotonic(), status=answer.status
            )
            self._log.lookups.append(lookup)
        elif path.startswith("/control/"):
            answer = await self._control(f"{scope['method']} {path}", scope, body)
        else:
            answer = Answer(404, messages.error_body("10005", f"There is no {path} here"))
        if answer is None:
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer.body)).encode())]
        await send({"type": "http.response.start", "status": answer.status, "headers": [*headers, *answer.headers]})
        await send({"type": "http.response.body", "body": answer.body})

    async def _live(self, receive: Receive, send: Send) -> None:
        while (event := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{event['type']}.complete"})
        self._released.set()
        await self._webhooks.close()
        await send({"type": "lifespan.shutdown.complete"})

    def _authorized(self, scope: Scope) -> bool:
        given: bytes = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        return hmac.compare_digest(given, self._bearer)

    async def _send_message(self, scope: Scope, body: bytes, receive: Receive) -> Answer | None:
        log = self._log
        log.in_flight += 1
        log.most_in_flight = max(log.most_in_flight, log.in_flight)
        arrival = Arrival(
            sequence=len(log.arrivals), at_ms=time.time() * 1000, at_s=time.monotonic(), in_flight=log.in_flight
        )
        log.arrivals.append(arrival)
        try:
            answer = await self._decide(arrival, scope, body, receive)
        except RefusedError as refused:
            arrival.code = refused.code
            status = messages.status_of(refused.code)
            answer = Answer(status, messages.error_body(refused.code, refused.detail))
        finally:
            log.in_flight -= 1
        if answer is not None:
            arrival.status, arrival.answered_s = answer.status, time.monotonic()
        return answer

    async def _decide(self, arrival: Arrival, scope: Scope, body: bytes, receive: Receive) -> Answer | None:
        if not self._authorized(scope):
            raise RefusedError("10009", "The API key looks malformed or is not known")
        request = messages.parse(body)
        arrival.to, arrival.sender, arrival.text = request.to, request.sender, request.text
        arrival.messaging_profile_id = request.messaging_profile_id
        arrival.webhook_url, arrival.webhook_failover_url = request.webhook_url, request.webhook_failover_url
        messages.check(request)
        behaviour = self._script.next_for(request.to)
        if behaviour.delay_ms:
            await asyncio.sleep(behaviour.delay_ms / 1000)
        if behaviour.refuses:
            return _refusal(arrival, behaviour)
        payload = b""
        if behaviour.accept or behaviour.answer == "normal":
            message = Message(message_id=str(uuid.uuid4()), request=request, received=messages.now())
            arrival.accepted, arrival.message_id = True, message.message_id
            self._messages[message.message_id] = self._last_to[request.to] = message
            payload = encode({"data": message.payload()})
            self._webhooks.follow(message, behaviour)
        if behaviour.answer == "normal":
            return Answer(200, payload)
        if behaviour.answer == "drop":
            scope["state"]["drop_connection"]()
        await self._until_disconnected(receive)
        return None

    async def _until_disconnected(self, receive: Receive) -> None:
        """A hang ends when the client gives up, or at a reset."""
        gone = asyncio.ensure_future(_disconnect(receive))
        released = asyncio.ensure_future(self._released.wait())
        _, unfinished = await asyncio.wait((gone, released), return_when=asyncio.FIRST_COMPLETED)
        for task in unfinished:
            task.cancel()

    def _one_message(self, scope: Scope, message_id: str) -> Answer:
        if not self._authorized(scope):
            return Answer(401, messages.error_body("10009", "The API key looks malformed or is not known"))
        if (message := self._messages.get(message_id)) is None:
            return Answer(404, messages.error_body("10005", f"There is no message {message_id}"))
        return Answer(200, encode({"data": message.payload()}))

    async def _control(self, call: str, scope: Scope, body: bytes) -> Answer:
        try:
            return Answer(200, encode(await self._obey(call, scope, body)))
        except LookupError as error:
            return Answer(404, encode({"error": str(error)}))
        except (msgspec.MsgspecError, ValueError) as error:
            return Answer(422, encode({"error": str(error)}))

    async def _obey(self, call: str, scope: Scope, body: bytes) -> Log | Counts | dict[str, str]:
        done: Log | Counts | dict[str, str] = {}
        match call:
            case "GET /control/log":
                since = int(parse_qs(scope["query_string"].decode()).get("since", ["0"])[0])
                done = msgspec.structs.replace(self._log, arrivals=self._log.arrivals[since:])
            case "GET /control/counts":
                done = self._counts()
            case "GET /control/public-key":
                done = {"public_key": self._webhooks.public_key}
            case "POST /control/behaviour":
                self._script.order(msgspec.json.decode(body, type=Orders))
            case "POST /control/inbound":
                done = {"event_id": self._inbound(msgspec.json.decode(body, type=Inbound))}
            case "DELETE /control/log":
                self._forget_log()
            case "POST /control/reset":
                await self._reset()
            case _:
                raise LookupError(f"there is no {call}")
        return done

    def _forget_log(self) -> None:
        self._log.arrivals.clear()
        self._log.lookups.clear()
        self._log.deliveries.clear()
        self._log.most_in_flight = self._log.in_flight

    async def _reset(self) -> None:
        """As after a start: no orders, no log, nothing on its way."""
        self._script.clear()
        self._released.set()
        self._released = asyncio.Event()
        await self._webhooks.forget()
        self._messages.clear()
        self._last_to.clear()
        self._forget_log()

    def _counts(self) -> Counts:
        arrivals = self._log.arrivals
        return Counts(
            arrivals=len(arrivals),
            accepted=sum(arrival.accepted for arrival in arrivals),
            in_flight=self._log.in_flight,
            most_in_flight=self._log.most_in_flight,
            webhooks_pending=self._webhooks.pending,
        )

    def _inbound(self, inbound: Inbound) -> str:
        last = self._last_to.get(inbound.sender)
        url = inbound.webhook_url or (last.request.webhook_url if last else "")
        to = inbound.to or (last.request.sender if last else "")
        if not url or not to:
            raise ValueError(f"{inbound.sender} was sent nothing yet: give to and webhook_url")
        return self._webhooks.inbound(inbound.sender, to, inbound.text, url)


def _refusal(arrival: Arrival, behaviour: Behaviour) -> Answer:
    code = behaviour.code or messages.code_of(behaviour.status or 500)
    arrival.code = code
    headers = tuple(
        (name, f"{seconds:g}".encode())
        for name, seconds in (
            (b"retry-after", behaviour.retry_after_s),
            (b"x-ratelimit-reset", behaviour.ratelimit_reset_s),
        )
        if seconds is not None
    )
    status = behaviour.status or messages.status_of(code)
    return Answer(status, messages.error_body(code, "This answer was ordered", behaviour.title), headers)


async def _read(receive: Receive) -> bytes:
    parts = []
    while True:
        event = await receive()
        parts.append(event.get("body", b""))
        if not event.get("more_body"):
            return b"".join(parts)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
