"""The mailbox takes what the real SMTP client sends, and shows it as a mail program would."""

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from domain.notification.answers import Accepted, Answer, Refused
from local.mailbox.client import MailboxProcess
from local.ports import LOOPBACK
from streams.digests.mail.smtp import Smtp, SmtpServer
from streams.digests.report.rendered_digest import Mail
from tests.streams.digests.mail_samples import PIXEL, mail


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailboxProcess]:
    with MailboxProcess(Path(tmp_path_factory.mktemp("mailbox"))) as running:
        yield running


def sent(mailbox: MailboxProcess, mails: list[Mail]) -> list[Answer]:
    async def send() -> list[Answer]:
        provider = Smtp(SmtpServer(host=LOOPBACK, port=mailbox.smtp_port, security="none"))
        try:
            return [await provider.send(one) for one in mails]
        finally:
            await provider.close()

    return asyncio.run(send())


def test_a_mail_is_listed_and_shown_with_its_pictures_text_and_attachment(mailbox: MailboxProcess) -> None:
    mailbox.clear()
    assert all(isinstance(answer, Accepted) for answer in sent(mailbox, [mail("pat@example.com")]))
    (found,) = mailbox.mails()
    assert found.to == ["pat@example.com"]
    assert found.subject == "Daily Temperature Summary - Corner Störe"
    assert [(file.file_name, file.content_type) for file in found.attachments] == [("report.pdf", "application/pdf")]
    assert found.unsubscribe == "https://freshtrack.example.com/u/abc"
    assert f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}" in mailbox.html(found.number)
    assert "cid:" not in mailbox.html(found.number)
    assert "2 °C" in mailbox.text(found.number)
    page = httpx.get(f"{mailbox.url}/mails/{found.number}", trust_env=False).text
    assert "report.pdf" in page
    assert f'src="/mails/{found.number}/html"' in page
    assert "Corner Störe" in httpx.get(mailbox.url, trust_env=False).text
    shown = httpx.get(f"{mailbox.url}/mails/{found.number}/html", trust_env=False)
    assert "sandbox" in shown.headers["Content-Security-Policy"]
    attached = httpx.get(f"{mailbox.url}/mails/{found.number}/files/0", trust_env=False)
    assert attached.content == b"%PDF-1.4"


def test_a_second_copy_of_a_mail_is_recognized_by_its_message_id(mailbox: MailboxProcess) -> None:
    mailbox.clear()
    sent(mailbox, [mail("pat@example.com"), mail("pat@example.com")])
    assert [found.copies for found in mailbox.mails()] == [2]


def test_it_refuses_mails_when_it_is_told_to(mailbox: MailboxProcess) -> None:
    mailbox.clear()
    mailbox.refuse("451 4.3.0 later")
    (answer,) = sent(mailbox, [mail()])
    assert isinstance(answer, Refused)
    assert answer.code == "smtp-451"
    mailbox.refuse("")
    assert isinstance(sent(mailbox, [mail()])[0], Accepted)


def test_pages_of_mails_that_are_not_there_are_not_found(mailbox: MailboxProcess) -> None:
    mailbox.clear()
    assert httpx.get(f"{mailbox.url}/mails/9", trust_env=False).status_code == 404
