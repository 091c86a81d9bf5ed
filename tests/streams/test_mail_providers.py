"""The four providers over real sockets: what they send, and what their answers mean."""

import asyncio
import json
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from aiosmtpd import smtp as fake_smtp
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from streams.domain.telnyx_errors import ErrorClass
from streams.mail.answers import Answer, Provider, Refused, Silence, Taken, Unanswered, smtp_class
from streams.mail.settings import MailSettings, provider
from streams.mail.smtp import Smtp, SmtpServer
from tests.streams.mail_samples import PIXEL, mail

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
            assert await smtp.send(mail()) == Taken("2.0.0 queued as 42")
        sender, recipients, content = inbox.got[0]
        assert (sender, recipients) == ("digests@freshtrack.example.com", ["pat@example.com"])
        message = message_from_bytes(content, policy=default)
        assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert len(inbox.sessions) == 1

    with_smtp(work)


def test_smtp_sends_no_more_at_once_than_it_may() -> None:
    async def work(smtp: Smtp, inbox: Inbox) -> None:
        answers = await asyncio.gather(*(smtp.send(mail()) for _ in range(12)))
        assert all(isinstance(answer, Taken) for answer in answers)
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
        assert isinstance(await smtp.send(mail()), Taken)

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
        assert isinstance(await smtp.send(mail()), Taken)

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
        assert isinstance(await smtp.send(mail()), Taken)

    with_smtp(work)


def test_a_connection_that_the_server_closed_in_between_is_made_anew() -> None:
    async def work(smtp: Smtp, inbox: Inbox) -> None:
        assert isinstance(await smtp.send(mail()), Taken)
        smtp._idle[0].close()
        assert isinstance(await smtp.send(mail()), Taken)

    with_smtp(work)


def test_no_server_at_all_is_not_connected() -> None:
    async def work(smtp: Smtp, inbox: Inbox) -> None:
        answer = await smtp.send(mail())
        assert isinstance(answer, Unanswered)
        assert answer.kind is Silence.NOT_CONNECTED
        assert not answer.may_have_arrived

    with_smtp(work, port=1)


@pytest.mark.parametrize(
    ("code", "text", "about_recipient", "error_class"),
    [
        (421, "4.7.0 too many connections", False, ErrorClass.THROTTLED),
        (421, "closing", False, ErrorClass.TRANSIENT),
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


class FakeApi:
    """A provider over real HTTP that keeps requests and answers as it is told."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.status, self.body = 200, b"{}"
        self.headers: dict[str, str] = {}
        self.drop = False
        self.url = ""


@contextmanager
def fake_api() -> Iterator[FakeApi]:
    api = FakeApi()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            api.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            if api.drop:
                self.connection.close()
                return
            self.send_response(api.status)
            for name, value in api.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(api.body)))
            self.end_headers()
            self.wfile.write(api.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

        def finish(self) -> None:
            if not api.drop:
                super().finish()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def made(name: str, url: str) -> Provider:
    fields = {
        "provider": name,
        "url": url,
        "api_key": "key",
        "mailgun_domain": "mg.example.com",
        "ses_access_key": "AKIDEXAMPLE",
        "ses_secret_key": "secret",
        "timeout_s": 5.0,
    }
    return provider(MailSettings(**fields))  # type: ignore[arg-type]


def send(name: str, url: str) -> Answer:
    async def run() -> Answer:
        one = made(name, url)
        try:
            return await one.send(mail())
        finally:
            await one.close()

    return asyncio.run(run())


def test_sendgrid_gets_every_part() -> None:
    with fake_api() as api:
        api.status, api.headers = 202, {"X-Message-Id": "sg-1"}
        assert send("sendgrid", api.url) == Taken("sg-1")
        path, headers, body = api.requests[0]
    assert path == "/v3/mail/send"
    assert headers["authorization"] == "Bearer key"
    content = json.loads(body)
    assert content["personalizations"] == [{"to": [{"email": "pat@example.com", "name": "Pat Köhler"}]}]
    assert [part["type"] for part in content["content"]] == ["text/plain", "text/html"]
    assert content["headers"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    picture, report = content["attachments"]
    assert (picture["content_id"], picture["disposition"], b64decode(picture["content"])) == (
        "curve-0",
        "inline",
        PIXEL,
    )
    assert "content_id" not in report


def test_mailgun_gets_the_message_that_smtp_would_carry() -> None:
    with fake_api() as api:
        api.body = b'{"id": "<mg-1>", "message": "Queued. Thank you."}'
        assert send("mailgun", api.url) == Taken("<mg-1>")
        path, headers, body = api.requests[0]
    assert path == "/v3/mg.example.com/messages.mime"
    assert b64decode(headers["authorization"].removeprefix("Basic ")) == b"api:key"
    assert b'name="to"\r\n\r\npat@example.com\r\n' in body
    assert b"List-Unsubscribe: <https://freshtrack.example.com/u/abc>" in body


def test_ses_gets_the_raw_message_signed() -> None:
    with fake_api() as api:
        api.body = b'{"MessageId": "ses-1"}'
        assert send("ses", api.url) == Taken("ses-1")
        path, headers, body = api.requests[0]
    assert path == "/v2/email/outbound-emails"
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/us-east-1/ses/aws4_request" in headers["authorization"]
    content = json.loads(body)
    assert content["Destination"] == {"ToAddresses": ["pat@example.com"]}
    message = message_from_bytes(b64decode(content["Content"]["Raw"]["Data"]), policy=default)
    assert message["To"] == "Pat Köhler <pat@example.com>"


@pytest.mark.parametrize(
    ("name", "status", "body", "error_class"),
    [
        ("sendgrid", 401, b"{}", ErrorClass.CONFIGURATION),
        ("sendgrid", 429, b"{}", ErrorClass.THROTTLED),
        ("sendgrid", 503, b"", ErrorClass.TRANSIENT),
        ("sendgrid", 413, b"", ErrorClass.MESSAGE),
        ("sendgrid", 400, b'{"errors":[{"field":"content"}]}', ErrorClass.MESSAGE),
        ("sendgrid", 400, b'{"errors":[{"field":"personalizations.0.to.0.email"}]}', ErrorClass.RECIPIENT),
        (
            "mailgun",
            400,
            b'{"message": "\'to\' parameter is not a valid address. please check documentation"}',
            ErrorClass.RECIPIENT,
        ),
        ("mailgun", 404, b'{"message": "Domain not found"}', ErrorClass.CONFIGURATION),
        ("mailgun", 418, b"", ErrorClass.UNKNOWN),
        ("ses", 400, b'{"message": "AccountSuspendedException"}', ErrorClass.CONFIGURATION),
        ("ses", 400, b'{"message": "LimitExceededException"}', ErrorClass.THROTTLED),
        ("ses", 500, b"", ErrorClass.TRANSIENT),
    ],
)
def test_a_refusal_has_the_class_that_decides_about_a_retry(
    name: str, status: int, body: bytes, error_class: ErrorClass
) -> None:
    with fake_api() as api:
        api.status, api.body = status, body
        answer = send(name, api.url)
    assert isinstance(answer, Refused)
    assert (answer.error_class, answer.code) == (error_class, f"http-{status}")


@pytest.mark.parametrize(
    ("headers", "retry_after_s"),
    [
        ({}, None),
        ({"Retry-After": "17"}, 17.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}, "later"),
        ({"X-RateLimit-Reset": "4102444800"}, "later"),
    ],
)
def test_a_provider_that_says_when_is_heard(headers: dict[str, str], retry_after_s: float | str | None) -> None:
    with fake_api() as api:
        api.status, api.headers = 429, headers
        answer = send("sendgrid", api.url)
    assert isinstance(answer, Refused)
    if retry_after_s == "later":
        assert answer.retry_after_s is not None
        assert answer.retry_after_s > 1e6
    else:
        assert answer.retry_after_s == retry_after_s


@pytest.mark.parametrize("name", ["sendgrid", "mailgun", "ses"])
def test_an_api_that_hangs_up_may_have_the_mail(name: str) -> None:
    with fake_api() as api:
        api.drop = True
        answer = send(name, api.url)
    assert isinstance(answer, Unanswered)
    assert answer.may_have_arrived


@pytest.mark.parametrize("name", ["sendgrid", "mailgun", "ses"])
def test_an_api_that_is_not_there_has_not_got_the_mail(name: str) -> None:
    answer = send(name, "http://127.0.0.1:1")
    assert isinstance(answer, Unanswered)
    assert not answer.may_have_arrived


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(ValueError, match="MAIL_API_KEY is not set, and MAIL_PROVIDER=sendgrid needs it"):
        provider(MailSettings(provider="sendgrid"))


def test_a_secret_may_lie_in_a_file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("from-file\n")
    monkeypatch.setenv("MAIL_API_KEY_FILE", str(tmp_path / "key"))
    settings = MailSettings()
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "from-file"
    assert "from-file" not in repr(settings)
