"""Mail by HTTP: SendGrid, Mailgun and Amazon SES, each one request and one reading of its answer."""

from __future__ import annotations

from base64 import b64encode
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx
import msgspec
from httpx_aws_auth import AwsCredentials, AwsSigV4Auth
from msgspec import Struct

from domain.notification.answers import Accepted, Answer, NoAnswer, Refused, Unanswered
from domain.notification.error_class import ErrorClass
from domain.personal_data import masked_text
from streams.digests.mail.provider import http_class
from streams.digests.report.rendered_digest import AddressError, Enclosure, Mail

if TYPE_CHECKING:
    from collections.abc import Callable

DETAIL_AT_MOST = 500


class _Http:
    """What the three have in common: a client, its errors, and the answer's class."""

    name = "http"

    def __init__(self, url: str, timeout_s: float, client: httpx.AsyncClient | None = None) -> None:
        self._url = url
        self._client = client or httpx.AsyncClient(timeout=timeout_s)

    async def close(self) -> None:
        await self._client.aclose()

    async def _post(
        self, request: httpx.Request, taken: Callable[[httpx.Response], Accepted], auth: httpx.Auth | None = None
    ) -> Answer:
        try:
            response = await self._client.send(request, auth=auth)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Unanswered(NoAnswer.NOT_CONNECTED, _detail(error))
        except httpx.TimeoutException as error:
            return Unanswered(NoAnswer.TIMEOUT, _detail(error))
        except httpx.TransportError as error:
            return Unanswered(NoAnswer.CONNECTION_LOST, _detail(error))
        if response.is_success:
            return taken(response)
        text = response.text[:DETAIL_AT_MOST]
        error_class = self._class_of(response.status_code, text)
        words = masked_text(text)
        return Refused(error_class, f"http-{response.status_code}", words, retry_after_s=_retry_after_s(response))

    def _class_of(self, status: int, text: str) -> ErrorClass:  # noqa: ARG002
        return http_class(status)


def _detail(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:DETAIL_AT_MOST]


def _retry_after_s(response: httpx.Response) -> float | None:
    """`Retry-After` in seconds or as a date, else `X-RateLimit-Reset` in epoch seconds; null when neither is there."""
    said, now = response.headers.get("retry-after", ""), response.headers.get("date", "")
    if said.isdecimal():
        return float(said)
    try:
        sent_at = parsedate_to_datetime(now)
        if said:
            return max(0.0, (parsedate_to_datetime(said) - sent_at).total_seconds())
        reset = response.headers.get("x-ratelimit-reset", "")
        return max(0.0, int(reset) - sent_at.timestamp()) if reset.isdecimal() else None
    except ValueError:
        return None


class SendGrid(_Http):
    """SendGrid's Mail Send v3: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send."""

    name = "sendgrid"

    def __init__(
        self,
        api_key: str,
        *,
        url: str | None = None,
        timeout_s: float = 20.0,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        super().__init__(f"{url or 'https://api.sendgrid.com'}/v3/mail/send", timeout_s, client)
        self._api_key = api_key

    async def send(self, mail: Mail) -> Answer:
        content: dict[str, object] = {
            "personalizations": [{"to": [_named(mail.recipient.email, mail.recipient.name)]}],
            "from": _named(mail.sender.email, mail.sender.name),
            "subject": mail.subject,
            "content": [{"type": "text/plain", "value": mail.text}, {"type": "text/html", "value": mail.html}],
            "headers": {**mail.headers(), "Message-ID": mail.message_id},
            "custom_args": {"mail_id": mail.mail_id},
            # Their link tracking would rewrite the unsubscribe link, and tell them who reads.
            "tracking_settings": {"click_tracking": {"enable": False}, "open_tracking": {"enable": False}},
        }
        if mail.enclosures:
            content["attachments"] = [_attachment(enclosure) for enclosure in mail.enclosures]
        request = self._client.build_request(
            "POST",
            self._url,
            content=msgspec.json.encode(content),
            headers={"Authorization": f"Bearer {self._api_key}", "Content-Type": "application/json"},
        )
        return await self._post(request, lambda response: Accepted(response.headers.get("x-message-id", "")))

    def _class_of(self, status: int, text: str) -> ErrorClass:
        if status in (400, 422) and "personalizations.0.to" in text:
            return ErrorClass.RECIPIENT
        return http_class(status)


def _attachment(enclosure: Enclosure) -> dict[str, str]:
    found = {
        "filename": enclosure.file_name,
        "type": enclosure.content_type,
        "content": b64encode(enclosure.content).decode(),
    }
    return found | {"disposition": "inline", "content_id": enclosure.cid} if enclosure.cid else found


def _named(email: str, name: str) -> dict[str, str]:
    return {"email": email, "name": name} if name else {"email": email}


class _MailgunAnswer(Struct):
    id: str = ""


class Mailgun(_Http):
    """Mailgun's messages.mime: the same bytes that SMTP would carry."""

    name = "mailgun"

    def __init__(
        self,
        api_key: str,
        domain: str,
        *,
        url: str | None = None,
        timeout_s: float = 20.0,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        super().__init__(f"{url or 'https://api.mailgun.net'}/v3/{domain}/messages.mime", timeout_s, client)
        self._auth = httpx.BasicAuth("api", api_key)

    async def send(self, mail: Mail) -> Answer:
        try:
            message = mail.mime().as_bytes()
        except (AddressError, ValueError) as error:
            return Refused(ErrorClass.RECIPIENT, "address", str(error))
        request = self._client.build_request(
            "POST",
            self._url,
            data={"to": mail.recipient.email, "o:tracking": "no", "v:mail_id": mail.mail_id},
            files={"message": ("message.eml", message, "message/rfc822")},
        )
        return await self._post(request, lambda response: Accepted(_id_of(response.content)), self._auth)

    def _class_of(self, status: int, text: str) -> ErrorClass:
        if status == 400 and "'to' parameter is not a valid address" in text:
            return ErrorClass.RECIPIENT
        return http_class(status)


def _id_of(content: bytes) -> str:
    try:
        return msgspec.json.decode(content, type=_MailgunAnswer).id
    except msgspec.MsgspecError:
        return ""


class _SesAnswer(Struct, rename="pascal"):
    message_id: str = ""


class Ses(_Http):
    """Amazon SES v2 SendEmail with raw content, signed with Signature Version 4."""

    name = "ses"

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        region: str,
        *,
        session_token: str | None = None,
        url: str | None = None,
        timeout_s: float = 20.0,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        super().__init__(
            f"{url or f'https://email.{region}.amazonaws.com'}/v2/email/outbound-emails", timeout_s, client
        )
        credentials = AwsCredentials(access_key=access_key, secret_key=secret_key, session_token=session_token)
        self._auth = AwsSigV4Auth(credentials=credentials, region=region, service="ses")

    async def send(self, mail: Mail) -> Answer:
        try:
            message = mail.mime().as_bytes()
        except (AddressError, ValueError) as error:
            return Refused(ErrorClass.RECIPIENT, "address", str(error))
        content = {
            "FromEmailAddress": str(mail.sender.header()),
            "Destination": {"ToAddresses": [mail.recipient.email]},
            "Content": {"Raw": {"Data": b64encode(message).decode()}},
        }
        request = self._client.build_request(
            "POST", self._url, content=msgspec.json.encode(content), headers={"Content-Type": "application/json"}
        )
        return await self._post(request, _ses_taken, self._auth)

    def _class_of(self, status: int, text: str) -> ErrorClass:
        # https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html#API_SendEmail_Errors
        if "AccountSuspended" in text or "SendingPaused" in text or "MailFromDomainNotVerified" in text:
            return ErrorClass.CONFIGURATION
        if "LimitExceeded" in text or "TooManyRequests" in text or "Throttling" in text:
            return ErrorClass.THROTTLED
        return http_class(status)


def _ses_taken(response: httpx.Response) -> Accepted:
    try:
        return Accepted(msgspec.json.decode(response.content, type=_SesAnswer).message_id)
    except msgspec.MsgspecError:
        return Accepted()
