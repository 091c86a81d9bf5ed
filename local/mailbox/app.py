"""The mailbox: accepts mails by SMTP, keeps the newest in memory, and shows them on web pages."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from jinja2 import Environment, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from local.mailbox.pages import LIST, MAIL
from local.mailbox.received import Received, attachment_of, html_of, parse, received, text_of

if TYPE_CHECKING:
    from email.message import EmailMessage

    from aiosmtpd.smtp import Envelope, Session
    from starlette.requests import Request

KEPT = 2_000
# A mail is foreign content: it may show pictures and its own styles, and nothing else.
MAIL_POLICY = "sandbox allow-popups; default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_pages = Environment(autoescape=True, undefined=StrictUndefined)


class Mailbox:
    """Mails by number, oldest first. A second copy of a mail, recognized by its Message-ID, is counted and discarded.

    Mail programs do the same with a message that a server delivers twice.
    """

    def __init__(self) -> None:
        self._mails: OrderedDict[int, tuple[Received, bytes]] = OrderedDict()
        self._number_of: dict[str, int] = {}
        self._last = 0
        self.refuse: str | None = None
        self.delay_s = 0.0

    async def handle_DATA(self, _server: Any, _session: Session, envelope: Envelope) -> str:  # noqa: ANN401, N802
        """What aiosmtpd calls for each mail."""
        if self.refuse:
            return self.refuse
        await asyncio.sleep(self.delay_s)
        content = envelope.content
        raw = content if isinstance(content, bytes) else str(content or "").encode()
        return f"250 2.0.0 kept as {self.take(list(envelope.rcpt_tos), raw)}"

    def take(self, recipients: list[str], raw: bytes) -> int:
        """Keep a mail; returns its number."""
        mail = received(self._last + 1, int(time.time() * 1000), recipients, raw)
        known = self._number_of.get(mail.message_id) if mail.message_id else None
        if known is not None and known in self._mails:
            former, its_raw = self._mails[known]
            self._mails[known] = (msgspec.structs.replace(former, copies=former.copies + 1), its_raw)
            return known
        self._last = mail.number
        self._number_of[mail.message_id] = mail.number
        self._mails[mail.number] = (mail, raw)
        if len(self._mails) > KEPT:
            _, (gone, _) = self._mails.popitem(last=False)
            self._number_of.pop(gone.message_id, None)
        return mail.number

    def newest_first(self) -> list[Received]:
        return [mail for mail, _ in reversed(self._mails.values())]

    def one(self, number: int) -> tuple[Received, EmailMessage]:
        """Raises KeyError."""
        mail, raw = self._mails[number]
        return mail, parse(raw)

    def raw(self, number: int) -> bytes:
        return self._mails[number][1]

    def clear(self) -> None:
        self._mails.clear()
        self._number_of.clear()
        self.refuse = None
        self.delay_s = 0.0


class Pages:
    """What people see of a mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def list(self, _: Request) -> Response:
        return HTMLResponse(_pages.from_string(LIST).render(mails=self._mailbox.newest_first(), clock=_clock))

    async def mail(self, request: Request) -> Response:
        mail, message = self._found(request)
        headers = [(name, str(value)) for name, value in message.items()]
        page = _pages.from_string(MAIL).render(mail=mail, headers=headers, text=text_of(message), clock=_clock)
        return HTMLResponse(page)

    async def html(self, request: Request) -> Response:
        return HTMLResponse(html_of(self._found(request)[1]), headers={"Content-Security-Policy": MAIL_POLICY})

    async def text(self, request: Request) -> Response:
        return PlainTextResponse(text_of(self._found(request)[1]))

    async def raw(self, request: Request) -> Response:
        return PlainTextResponse(self._mailbox.raw(self._found(request)[0].number))

    async def attachment(self, request: Request) -> Response:
        _, message = self._found(request)
        try:
            about, content = attachment_of(message, request.path_params["file"])
        except IndexError:
            raise HTTPException(404) from None
        return Response(content, media_type=about.content_type, headers={"Content-Security-Policy": MAIL_POLICY})

    def _found(self, request: Request) -> tuple[Received, EmailMessage]:
        try:
            return self._mailbox.one(request.path_params["number"])
        except KeyError:
            raise HTTPException(404) from None


class Controls:
    """What tests and the demo use."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def list(self, _: Request) -> Response:
        return Response(msgspec.json.encode(self._mailbox.newest_first()), media_type="application/json")

    async def clear(self, _: Request) -> Response:
        self._mailbox.clear()
        return Response(status_code=204)

    async def refuse(self, request: Request) -> Response:
        """Answer every mail with this SMTP reply, such as `451 4.3.0 later`; an empty body accepts mails again."""
        self._mailbox.refuse = (await request.body()).decode() or None
        return Response(status_code=204)

    async def delay(self, request: Request) -> Response:
        """Take this many seconds for each mail."""
        self._mailbox.delay_s = float(await request.body())
        return Response(status_code=204)


def web(mailbox: Mailbox) -> Starlette:
    """`/`: the list; `/mails/N`: one mail; `/api/mails`: the list as JSON, DELETE empties the mailbox."""
    pages, controls = Pages(mailbox), Controls(mailbox)
    return Starlette(
        routes=[
            Route("/", pages.list),
            Route("/mails/{number:int}", pages.mail),
            Route("/mails/{number:int}/html", pages.html),
            Route("/mails/{number:int}/text", pages.text),
            Route("/mails/{number:int}/raw", pages.raw),
            Route("/mails/{number:int}/files/{file:int}", pages.attachment),
            Route("/api/mails", controls.list, methods=["GET"]),
            Route("/api/mails", controls.clear, methods=["DELETE"]),
            Route("/api/refuse", controls.refuse, methods=["PUT"]),
            Route("/api/delay", controls.delay, methods=["PUT"]),
        ]
    )


def _clock(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
