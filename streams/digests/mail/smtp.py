"""Mail by SMTP: the default, and what every provider speaks."""

from __future__ import annotations

import asyncio
from typing import Literal

import aiosmtplib
from aiosmtplib import (
    SMTPConnectError,
    SMTPConnectTimeoutError,
    SMTPException,
    SMTPHeloError,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from msgspec import Struct

from domain.notification.answers import Accepted, Answer, NoAnswer, Refused, Unanswered
from domain.notification.error_class import ErrorClass
from domain.personal_data import masked_text
from streams.digests.mail.provider import smtp_class
from streams.digests.report.rendered_digest import AddressError, Mail


class SmtpServer(Struct, frozen=True, kw_only=True):
    """Where to deliver. `security`: "tls" from the first byte, "starttls" required, or "none" for a local relay."""

    host: str
    port: int = 587
    security: Literal["tls", "starttls", "none"] = "starttls"
    user: str | None = None
    password: str | None = None
    timeout_s: float = 20.0
    connections: int = 5


class Smtp:
    """Sends through up to `connections` connections at once, which stay open between mails."""

    name = "smtp"

    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self._idle: list[aiosmtplib.SMTP] = []
        self._free = asyncio.Semaphore(server.connections)

    async def send(self, mail: Mail) -> Answer:
        """Deliver one mail to the server; what the server does with it later is not known here."""
        try:
            message = mail.mime()
        except (AddressError, ValueError) as error:
            return Refused(ErrorClass.RECIPIENT, "address", str(error))
        async with self._free:
            return await self._deliver(mail, message.as_bytes())

    async def _deliver(self, mail: Mail, content: bytes) -> Answer:
        client: aiosmtplib.SMTP | None = None
        try:
            client = await self._connection()
            _, reply = await client.sendmail(mail.sender.email, [mail.recipient.email], content)
        except SMTPRecipientsRefused as error:
            # The conversation is sound, only the address is not.
            self._keep(client)
            refusal = error.recipients[0]
            return _refused(refusal.code, refusal.message, about_recipient=True)
        except (SMTPException, OSError) as error:
            if client is not None:
                client.close()
            return _answer(error, connected=client is not None)
        except asyncio.CancelledError:
            if client is not None:
                client.close()
            raise
        self._keep(client)
        return Accepted(reply)

    async def _connection(self) -> aiosmtplib.SMTP:
        """An idle connection that still answers, or a new one."""
        while self._idle:
            client = self._idle.pop()
            try:
                await client.noop()
            except (SMTPException, OSError):
                client.close()
            else:
                return client
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            use_tls=server.security == "tls",
            start_tls=server.security == "starttls",
            timeout=server.timeout_s,
        )
        await client.connect()
        return client

    def _keep(self, client: aiosmtplib.SMTP | None) -> None:
        if client is not None and client.is_connected:
            self._idle.append(client)

    async def close(self) -> None:
        """Say goodbye on every idle connection."""
        while self._idle:
            client = self._idle.pop()
            try:
                await client.quit()
            except (SMTPException, OSError):
                client.close()


def _refused(code: int, text: str, *, about_recipient: bool) -> Refused:
    return Refused(smtp_class(code, text, about_recipient=about_recipient), f"smtp-{code}", masked_text(text)[:500])


def _answer(error: SMTPException | OSError, *, connected: bool) -> Answer:
    detail = masked_text(f"{type(error).__name__}: {error}")[:500]
    match error:
        case SMTPConnectError() | SMTPConnectTimeoutError() | SMTPHeloError():
            return Unanswered(NoAnswer.NOT_CONNECTED, detail)
        case SMTPResponseException():
            return _refused(error.code, error.message, about_recipient=False)
        case SMTPTimeoutError():
            return Unanswered(NoAnswer.TIMEOUT if connected else NoAnswer.NOT_CONNECTED, detail)
        case SMTPServerDisconnected() | OSError():
            return Unanswered(NoAnswer.CONNECTION_LOST if connected else NoAnswer.NOT_CONNECTED, detail)
        case _:
            # No STARTTLS, no AUTH: the server is not what the settings say.
            return Refused(ErrorClass.CONFIGURATION, "smtp", detail)
