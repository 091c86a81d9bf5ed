"""SendGrid, Mailgun and SES over real sockets: what they are sent, and what their answers mean."""

import asyncio
import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from domain.notification.answers import Accepted, Answer, Refused, Unanswered
from domain.notification.error_class import ErrorClass
from streams.digests.mail.provider import Provider
from streams.digests.mail.settings import MailSettings, provider
from tests.streams.digests.mail_samples import PIXEL, mail


class FakeApi:
    """A provider over real HTTP that keeps requests and answers as configured."""

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
        assert send("sendgrid", api.url) == Accepted("sg-1")
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
        assert send("mailgun", api.url) == Accepted("<mg-1>")
        path, headers, body = api.requests[0]
    assert path == "/v3/mg.example.com/messages.mime"
    assert b64decode(headers["authorization"].removeprefix("Basic ")) == b"api:key"
    assert b'name="to"\r\n\r\npat@example.com\r\n' in body
    assert b"List-Unsubscribe: <https://freshtrack.example.com/u/abc>" in body


def test_ses_gets_the_raw_message_signed() -> None:
    with fake_api() as api:
        api.body = b'{"MessageId": "ses-1"}'
        assert send("ses", api.url) == Accepted("ses-1")
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
        ("sendgrid", 503, b"", ErrorClass.UNAVAILABLE),
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
        ("ses", 500, b"", ErrorClass.UNAVAILABLE),
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
