"""SMTP over real sockets: what is sent, and what the answers mean."""

import asyncio
from collections.abc import Awaitable, Callable
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest
from aiosmtpd import smtp as fake_smtp
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from domain.notification.answers import Accepted, NoAnswer, Refused, Unanswered
from domain.notification.error_class import ErrorClass
from streams.digests.mail.provider import smtp_class
from streams.digests.mail.smtp import Smtp, SmtpServer
from tests.streams.digests.mail_samples import mail

REFUSED_ADDRESSES = {
    "gone@example.com": "550 5.1.1 no such user",
    "full@example.com": "452 4.2.2 mailbox full",
    "later@example.com": "451 4.3.0 try again",
    "policy@example.com": "550 5.7.1 not from you",
}


# aiosmtpd warns of what a loopback test may do.
WITHOUT_TLS = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")


class Inbox:
    """An SMTP server's handler that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[tuple[str, list[str], bytes]] = []
        self.sessions: set[int] = set()
        self.data_reply = "250 2.0.0 queued as 42"
        self.hang_up = False

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if reply := REFUSED_ADDRESSES.get(address):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.sessions.add(id(session))
        if self.hang_up:
            server.transport.abort()
            return "250 never heard"
        content = envelope.content
        assert isinstance(content, bytes)
        self.got.append((str(envelope.mail_from), list(envelope.rcpt_tos), content))
        return self.data_reply


def _login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and data.password == b"secret"
    return AuthResult(success=right, handled=False)


def with_smtp(work: Callable[[Smtp, Inbox], Awaitable[None]], *, auth: bool = False, **settings: object) -> None:
    async def run() -> None:
        inbox = Inbox()
        server = await asyncio.get_running_loop().create_server(
            lambda: fake_smtp.SMTP(
                inbox, auth_required=auth, auth_require_tls=False, authenticator=_login, hostname="fake", ident="fake"
            ),
            "127.0.0.1",
            0,
        )
        port = server.sockets[0].getsockname()[1]
        fields: dict[str, object] = {"host": "127.0.0.1", "port": port, "security": "none", "timeout_s": 5.0}
        smtp = Smtp(SmtpServer(**(fields | settings)))  # type: ignore[arg-type]
        try:
            await work(smtp, inbox)
        finally:
            await smtp.close()
            server.close()

    asyncio.run(run())


def test_smtp_delivers_the_message_as_it_is_and_keeps_its_connection() -> None:
    async def work(smtp: Smtp, inbox: Inbox) -> None:
        for _ in range(3):
            assert await smtp.send(mail()) == Accepted("2.0.0 queued as 42")
        sender, recipients, content = inbox.got[0]
        assert (sender, recipients) == ("digests@freshtrack.example.com", ["pat@example.com"])
        message = message_from_bytes(content, policy=default)
        assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert len(inbox.sessions) == 1

    with_smtp(work)


def test_smtp_sends_no_more_at_once_than_it_may() -> None:
    async def work(smtp: Smtp, inbox: Inbox) -> None:
        answers = await asyncio.gather(*(smtp.send(mail()) for _ in range(12)))
        assert all(isinstance(answer, Accepted) for answer in answers)
        assert len(inbox.got) == 12
        assert len(inbox.sessions) <= 2

    with_smtp(work, connections=2)


@pytest.mark.parametrize(
    ("to", "error_class", "code"),
    [
        ("gone@example.com", ErrorClass.RECIPIENT, "smtp-550"),
        ("full@example.com", ErrorClass.THROTTLED, "smtp-452"),
        ("later@example.com", ErrorClass.TRANSIENT, "smtp-451"),
        ("policy@example.com", ErrorClass.ASK_A_PERSON, "smtp-550"),
    ],
)
def test_a_refused_address_concerns_that_address_and_the_next_mail_goes_out(
    to: str, error_class: ErrorClass, code: str
) -> None:
    async def work(smtp: Smtp, inbox: Inbox) -> None:
        answer = await smtp.send(mail(to))
        assert isinstance(answer, Refused)
        assert (answer.error_class, answer.code) == (error_class, code)
        assert isinstance(await smtp.send(mail()), Accepted)

    with_smtp(work)


@WITHOUT_TLS
def test_a_wrong_password_is_a_matter_of_configuration() -> None:
    async def work(smtp: Smtp, inbox: Inbox) -> None:
        answer = await smtp.send(mail())
        assert isinstance(answer, Refused)
        assert (answer.error_class, answer.code) == (ErrorClass.CONFIGURATION, "smtp-535")

    with_smtp(work, auth=True, user="u", password="wrong")


@WITHOUT_TLS
def test_the_right_password_is_accepted() -> None:
    async def work(smtp: Smtp, inbox: Inbox) -> None:
        assert isinstance(await smtp.send(mail()), Accepted)

    with_smtp(work, auth=True, user="u", password="secret")


def test_a_server_without_the_demanded_encryption_gets_nothing() -> None:
    async def work(smtp: Smtp, inbox: Inbox) -> None:
        answer = await smtp.send(mail())
        assert isinstance(answer, Refused)
        assert answer.error_class is ErrorClass.CONFIGURATION
        assert inbox.got == []

    with_smtp(work, security="starttls")


def test_a_connection_lost_after_the_text_may_have_delivered_it() -> None:
    async def work(smtp: Smtp, inbox: Inbox) -> None:
        inbox.hang_up = True
        answer = await smtp.send(mail())
        assert isinstance(answer, Unanswered)
        assert answer.may_have_arrived
        inbox.hang_up = False
        assert isinstance(await smtp.send(mail()), Accepted)

    with_smtp(work)


def test_a_connection_that_the_server_closed_in_between_is_made_anew() -> None:
    async def work(smtp: Smtp, inbox: Inbox) -> None:
        assert isinstance(await smtp.send(mail()), Accepted)
        smtp._idle[0].close()
        assert isinstance(await smtp.send(mail()), Accepted)

    with_smtp(work)


def test_no_server_at_all_is_not_connected() -> None:
    async def work(smtp: Smtp, inbox: Inbox) -> None:
        answer = await smtp.send(mail())
        assert isinstance(answer, Unanswered)
        assert answer.kind is NoAnswer.NOT_CONNECTED
        assert not answer.may_have_arrived

    with_smtp(work, port=1)


@pytest.mark.parametrize(
    ("code", "text", "about_recipient", "error_class"),
    [
        (421, "4.7.0 too many connections", False, ErrorClass.THROTTLED),
        (421, "closing", False, ErrorClass.UNAVAILABLE),
        (552, "5.3.4 message too big", False, ErrorClass.MESSAGE),
        (554, "5.6.0 bad content", False, ErrorClass.MESSAGE),
        (554, "5.7.1 sender not allowed", False, ErrorClass.CONFIGURATION),
        (553, "sender unknown", False, ErrorClass.CONFIGURATION),
        (553, "no such mailbox", True, ErrorClass.RECIPIENT),
        (530, "5.7.0 must authenticate", True, ErrorClass.CONFIGURATION),
    ],
)
def test_what_a_reply_means(code: int, text: str, about_recipient: bool, error_class: ErrorClass) -> None:
    assert smtp_class(code, text, about_recipient=about_recipient) is error_class
