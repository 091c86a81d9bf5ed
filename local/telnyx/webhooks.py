"""Webhooks as Telnyx sends them: signed, three attempts, then three at the failover URL."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
from nacl.signing import SigningKey

from local.telnyx.messages import iso, now
from local.telnyx.records import Delivery

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from local.telnyx.behaviour import Behaviour
    from local.telnyx.messages import Message

ATTEMPTS_PER_URL = 3
ANSWER_WITHIN_S = 2.0
BETWEEN_ATTEMPTS_S = 0.2
AT_ONCE = 32


class Webhooks:
    """Sends the events of messages, and keeps what it did in `deliveries`."""

    def __init__(self, api_key: str, deliveries: list[Delivery]) -> None:
        # From the API key, so that a fake that was restarted still signs with the key that its clients know.
        self._key = SigningKey(hashlib.sha256(b"fake telnyx|" + api_key.encode()).digest())
        self._deliveries = deliveries
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._client: httpx.AsyncClient | None = None

    @property
    def public_key(self) -> str:
        """Base64, as Telnyx's portal shows it."""
        return base64.b64encode(bytes(self._key.verify_key)).decode()

    @property
    def pending(self) -> int:
        return len(self._tasks)

    def follow(self, message: Message, behaviour: Behaviour) -> None:
        """From now on the message goes its way: sent, then its final status."""
        self._run(self._go_its_way(message, behaviour))

    def inbound(self, sender: str, to: str, text: str, url: str) -> str:
        """A person's SMS to our number; returns the event's id."""
        payload = {
            "record_type": "message",
            "direction": "inbound",
            "id": str(uuid.uuid4()),
            "type": "SMS",
            "from": {"phone_number": sender, "carrier": "Fake", "line_type": "Wireless", "status": "webhook_delivered"},
            "to": [{"phone_number": to, "carrier": "Fake", "line_type": "Wireless", "status": "webhook_delivered"}],
            "text": text,
            "media": [],
            "received_at": iso(now()),
            "errors": [],
        }
        event_id = str(uuid.uuid4())
        self._run(self._deliver(event_id, "message.received", payload, (url,)))
        return event_id

    async def forget(self) -> None:
        """Cancel everything that is still on its way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        await self.forget()
        if self._client is not None:
            await self._client.aclose()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _go_its_way(self, message: Message, behaviour: Behaviour) -> None:
        request = message.request
        urls = tuple(url for url in (request.webhook_url, request.webhook_failover_url) if url)
        await asyncio.sleep(behaviour.sent_after_ms / 1000)
        if behaviour.delivery != "sending_failed":
            message.status, message.sent = "sent", now()
            if "message.sent" not in behaviour.lose:
                await self._deliver(str(uuid.uuid4()), "message.sent", message.payload(), urls)
        await asyncio.sleep(behaviour.finalized_after_ms / 1000)
        message.status, message.completed = behaviour.delivery, now()
        message.error_code = behaviour.delivery_code
        if "message.finalized" not in behaviour.lose:
            await self._deliver(str(uuid.uuid4()), "message.finalized", message.payload(), urls)

    async def _deliver(self, event_id: str, event_type: str, payload: dict[str, Any], urls: tuple[str, ...]) -> None:
        data = {
            "record_type": "event",
            "event_type": event_type,
            "id": event_id,
            "occurred_at": iso(now()),
            "payload": payload,
        }
        attempt = 0
        for url in urls:
            for _ in range(ATTEMPTS_PER_URL):
                attempt += 1
                body = msgspec.json.encode({"data": data, "meta": {"attempt": attempt, "delivered_to": url}})
                delivery = Delivery(
                    event_id=event_id,
                    event_type=event_type,
                    message_id=payload["id"],
                    url=url,
                    attempt=attempt,
                    at_ms=time.time() * 1000,
                    at_s=time.monotonic(),
                )
                self._deliveries.append(delivery)
                if await self._hand_over(delivery, body):
                    return
                await asyncio.sleep(BETWEEN_ATTEMPTS_S)

    async def _hand_over(self, delivery: Delivery, body: bytes) -> bool:
        stamp = str(int(time.time()))
        signature = self._key.sign(stamp.encode() + b"|" + body).signature
        headers = {
            "content-type": "application/json",
            "telnyx-timestamp": stamp,
            "telnyx-signature-ed25519": base64.b64encode(signature).decode(),
        }
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=ANSWER_WITHIN_S, trust_env=False)
        async with self._slots:
            try:
                response = await self._client.post(delivery.url, content=body, headers=headers)
            except httpx.HTTPError as error:
                delivery.error = type(error).__name__
                return False
        delivery.status = response.status_code
        return response.is_success
