"""What is kept of a provider's error quotes nobody's number or address: it is kept for years, also in Kafka."""

from __future__ import annotations

import httpx
import msgspec
import pytest
from aiosmtplib import SMTPResponseException

from domain.notification.answers import Refused
from domain.personal_data import unmasked
from streams.digests.mail import smtp
from streams.digests.mail.http import SendGrid
from streams.digests.report.rendered_digest import Mail, Mailbox
from streams.notifications.telnyx import client as telnyx

NUMBER, ADDRESS = "+12025550147", "zoe.quill@example.com"


def test_an_error_of_the_sms_provider() -> None:
    error = {"code": "40310", "title": f"Invalid 'to' address {NUMBER}"}
    refusal = telnyx._refusal(httpx.Response(400, content=msgspec.json.encode({"errors": [error]})))
    assert "Invalid 'to' address" in refusal.title
    assert unmasked(refusal.title) == []


@pytest.mark.parametrize("about_recipient", [True, False])
def test_a_reply_of_a_mail_server(about_recipient: bool) -> None:
    reply = f"5.1.1 <{ADDRESS}> unknown"
    answers = [
        smtp._refused(550, reply, about_recipient=about_recipient),
        smtp._answer(SMTPResponseException(550, reply), connected=True),
    ]
    for answer in answers:
        assert isinstance(answer, Refused)
        assert "unknown" in answer.title
        assert unmasked(answer.title) == []


@pytest.mark.anyio
async def test_an_error_of_a_mail_provider() -> None:
    answer = httpx.MockTransport(lambda _: httpx.Response(400, text=f"{ADDRESS} does not exist"))
    provider = SendGrid("key", client=httpx.AsyncClient(transport=answer))
    refused = await provider.send(a_mail())
    await provider.close()
    assert isinstance(refused, Refused)
    assert "does not exist" in refused.title
    assert unmasked(refused.title) == []


def a_mail() -> Mail:
    return Mail(
        mail_id="m1",
        sender=Mailbox("reports@example.com"),
        recipient=Mailbox(ADDRESS, "Zoe Quill"),
        subject="s",
        html="<p>h</p>",
        text="t",
        enclosures=(),
        unsubscribe_url=None,
    )
