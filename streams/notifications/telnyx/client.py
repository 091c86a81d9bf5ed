"""Sends SMS by Telnyx's HTTP API and returns a classed answer; what follows from it is decided elsewhere.

API: `POST /v2/messages`, `GET /v2/messages/{id}` (developers.telnyx.com). Nothing here logs: the key and the whole
phone number never leave this module but to the provider.
"""

from __future__ import annotations

import asyncio
import math
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Annotated, Self
from urllib.parse import quote, urlencode

import httpx
import msgspec

from domain.notification.answers import Accepted, Answer, NoAnswer, Refused, Unanswered
from domain.personal_data import masked_text
from streams.notifications.provider import ProviderStatus, Sms, WebhookIds
from streams.notifications.telnyx.codes import delivery_failed, refused

if TYPE_CHECKING:
    from types import TracebackType

API = "https://api.telnyx.com"
WEBHOOK_PATH = "/webhooks/telnyx"


class TelnyxSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`timeout_s` is for the whole exchange: a provider that answers a byte a second does not prolong it."""

    api_key: str
    from_e164: str
    messaging_profile_id: str
    base_url: str
    timeout_s: float
    connections: int
    webhook_url: str | None = None
    webhook_failover_url: str | None = None

    def __repr__(self) -> str:
        """Without the key."""
        return f"TelnyxSettings({self.base_url}, profile {self.messaging_profile_id})"


class TelnyxClient:
    """The provider over HTTP, one pool of connections; use it as an async context manager or call `aclose`."""

    def __init__(self, settings: TelnyxSettings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._settings = settings
        # Retries below us would send twice; redirects would send the key elsewhere.
        self._http = httpx.AsyncClient(
            base_url=settings.base_url,
            headers={"Authorization": f"Bearer {settings.api_key}", "Accept": "application/json"},
            # Connecting ends first, so that a request that never left is known as such and not as unanswered.
            timeout=httpx.Timeout(settings.timeout_s, connect=settings.timeout_s / 3, pool=settings.timeout_s / 3),
            limits=httpx.Limits(
                max_connections=settings.connections,
                max_keepalive_connections=settings.connections,
            ),
            follow_redirects=False,
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def send(self, sms: Sms) -> Answer:
        """One request, one answer; never tries again by itself."""
        payload = _Payload(
            from_=self._settings.from_e164,
            to=sms.to_e164,
            text=sms.text,
            messaging_profile_id=self._settings.messaging_profile_id,
            webhook_url=webhook_address(self._settings.webhook_url, sms.ids),
            webhook_failover_url=webhook_address(self._settings.webhook_failover_url, sms.ids),
        )
        answered = await self._exchange("POST", "/v2/messages", msgspec.json.encode(payload))
        if not isinstance(answered, httpx.Response):
            return answered
        try:
            message = _decode(answered.content).data
        except msgspec.MsgspecError:
            # Taken, by the status; by which id we shall only learn from the receipt.
            return Unanswered(NoAnswer.UNREADABLE, f"HTTP status {answered.status_code} without a message id")
        return Accepted(message.id, message.parts)

    async def status(self, provider_message_id: str) -> ProviderStatus | Refused | Unanswered:
        """Where a message stands now; `Refused` also when the provider does not know it."""
        answered = await self._exchange("GET", f"/v2/messages/{quote(provider_message_id, safe='')}")
        if not isinstance(answered, httpx.Response):
            return answered
        try:
            message = _decode(answered.content).data
        except msgspec.MsgspecError:
            return Unanswered(NoAnswer.UNREADABLE, f"HTTP status {answered.status_code} without a status")
        recipient = message.to[0] if message.to else _Recipient()
        return ProviderStatus(
            recipient.status, delivery_failed(str(message.errors[0].code)) if message.errors else None
        )

    def delivery_failed(self, error_code: str | None) -> Refused:
        """The classed error of a receipt with this code, or without one."""
        return delivery_failed(error_code)

    async def _exchange(
        self, method: str, path: str, body: bytes | None = None
    ) -> httpx.Response | Refused | Unanswered:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                response = await self._http.request(method, path, content=body, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Unanswered(NoAnswer.NOT_CONNECTED, type(error).__name__)
        except (TimeoutError, httpx.TimeoutException):
            return Unanswered(NoAnswer.TIMEOUT, f"no answer within {self._settings.timeout_s:g} s")
        except httpx.TransportError as error:
            return Unanswered(NoAnswer.CONNECTION_LOST, type(error).__name__)
        if response.is_success:
            return response
        refusal = _refusal(response)
        if response.status_code in _NOBODY_ANSWERED and refusal.code == _http_code(response):
            # A proxy gave up waiting for the provider, which may have taken the message.
            return Unanswered(NoAnswer.TIMEOUT, refusal.code)
        return refusal


def webhook_address(base_url: str | None, ids: WebhookIds | None) -> str | None:
    """The webhook's address at the api of `base_url`; None without one."""
    if base_url is None or ids is None:
        return None
    return f"{base_url}{WEBHOOK_PATH}?{urlencode(msgspec.structs.asdict(ids))}"


class _Payload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    from_: str = msgspec.field(name="from")
    to: str
    text: str
    messaging_profile_id: str
    webhook_url: str | None = None
    webhook_failover_url: str | None = None


class _Error(msgspec.Struct, frozen=True):
    code: Annotated[str, msgspec.Meta(max_length=64)] | int  # strings at Telnyx; others write numbers
    title: str = ""
    detail: str = ""


class _Errors(msgspec.Struct, frozen=True):
    errors: Annotated[list[_Error], msgspec.Meta(min_length=1)]


class _Recipient(msgspec.Struct, frozen=True):
    status: str = "queued"


class _Message(msgspec.Struct, frozen=True):
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    parts: int = 1
    to: list[_Recipient] = []
    errors: list[_Error] = []


class _Data(msgspec.Struct, frozen=True):
    data: _Message


_decode = msgspec.json.Decoder(_Data).decode
_decode_errors = msgspec.json.Decoder(_Errors).decode


_NOBODY_ANSWERED = (408, 504)


def _http_code(response: httpx.Response) -> str:
    return f"http-{response.status_code}"


def _refusal(response: httpx.Response) -> Refused:
    try:
        error = _decode_errors(response.content).errors[0]
    except msgspec.MsgspecError:
        # Not the provider's own answer, but a proxy's. Its text may be a whole page: the status says enough.
        error = _Error(_http_code(response), response.reason_phrase)
    # Providers quote the number, and what is kept of an error is kept for years.
    words = masked_text(error.title or error.detail)
    return refused(str(error.code), response.status_code, words, _retry_after_s(response))


def _retry_after_s(response: httpx.Response) -> float | None:
    """`Retry-After` in seconds or as a date (RFC 9110, 10.2.3), else `x-ratelimit-reset` (seconds, at Telnyx)."""
    given = response.headers.get("retry-after", "")
    if (seconds := _seconds(given)) is not None:
        return seconds
    if given:
        try:
            return max(parsedate_to_datetime(given).timestamp() - time.time(), 0.0)
        except ValueError:
            pass
    return _seconds(response.headers.get("x-ratelimit-reset", ""))


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
