"""The three mails and their parts: the same facts in HTML and text, no broken picture, short enough, one-click."""

import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from io import BytesIO

import pytest
from fastapi.routing import APIRoute
from PIL import Image

from api.unsubscribe import router
from domain.digest import words
from domain.digest.mails import view
from schemas import messages as m
from streams.digests.mail.copies import Links
from streams.digests.report.pdf import compliance_pdf
from streams.digests.report.render import HTML_AT_MOST, render
from streams.digests.report.rendered_digest import (
    UNSUBSCRIBE,
    AddressError,
    Mailbox,
    RenderedDigest,
    copy_for,
    mask,
)
from tests.streams.digests.mail_samples import PIXEL, digest_of, mail


class _Seen(HTMLParser):
    """The words and the pictures of an HTML part."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.images: list[str] = []
        self.hidden = 0
        self.feed(html)
        self.text = " ".join(" ".join(self.words).replace("\N{NO-BREAK SPACE}", " ").split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden += tag in {"style", "title"}
        if tag == "img":
            self.images.append(dict(attrs)["src"] or "")

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in {"style", "title"}

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.words.append(data)


@pytest.mark.parametrize("cadence", list(m.Cadence))
@pytest.mark.parametrize("display_unit", ["C", "F"])
def test_the_html_and_the_text_part_say_the_same(cadence: m.Cadence, display_unit: str) -> None:
    rendered = render(digest_of(cadence), display_unit)
    shown, seen = view(digest_of(cadence), display_unit), _Seen(rendered.html).text
    plain = " ".join(rendered.text.split())
    facts = [shown.verdict, shown.period, shown.organization, *shown.notes]
    facts += [f for tile in shown.tiles for f in (tile.label, tile.value)]
    for section in shown.sections:
        facts += [section.lead, *(f for picture in section.pictures for f in (picture.title, picture.alt))]
        rows = section.table.rows if section.table else ()
        facts += [fact for row in rows for fact in (*row.cells, row.remark)]
    for fact in facts:
        spaced = fact.replace(words.NBSP, " ")
        assert spaced in seen
        assert spaced in plain
    assert f"°{display_unit}" in plain


@pytest.mark.parametrize("cadence", list(m.Cadence))
def test_every_picture_of_the_html_is_enclosed_and_can_be_opened(cadence: m.Cadence) -> None:
    rendered = render(digest_of(cadence), "C")
    wanted = [src.removeprefix("cid:") for src in _Seen(rendered.html).images]
    enclosed = {enclosure.cid: enclosure for enclosure in rendered.enclosures if enclosure.cid}
    assert wanted
    assert sorted(wanted) == sorted(enclosed)
    for enclosure in enclosed.values():
        with Image.open(BytesIO(enclosure.content)) as picture:
            assert picture.size == (1120, 340)
        assert len(enclosure.content) < 40_000


@pytest.mark.parametrize("cadence", list(m.Cadence))
def test_a_thousand_units_with_long_names_stay_below_the_limit_of_mail_programs(cadence: m.Cadence) -> None:
    rendered = render(digest_of(cadence, units=1000 if cadence is m.Cadence.DAILY else 70), "F")
    assert len(rendered.html.encode()) < HTML_AT_MOST
    if cadence is not m.Cadence.MONTHLY:
        assert re.search(r"… and \d+ more units are", rendered.html)


def test_endless_names_are_cut_and_break_neither_mail_nor_report() -> None:
    made = digest_of(m.Cadence.DAILY, units=90, suffix=" Ö" * 4000)
    assert max(len(unit.name) for unit in made.units) == 100
    assert compliance_pdf(digest_of(m.Cadence.WEEKLY, units=3, suffix="Ö" * 4000), "C").startswith(b"%PDF-")
    rendered = render(made, "F")
    assert len(rendered.html.encode()) < HTML_AT_MOST
    assert re.search(r"… and \d+ more units are", rendered.html)


def test_styles_are_inlined_and_those_for_dark_mode_are_kept() -> None:
    html = render(digest_of(m.Cadence.DAILY), "C").html
    assert "prefers-color-scheme: dark" in html
    assert html.count("<style") == 1
    assert re.search(r'<h1[^>]* style="[^"]*font-size: 21px', html)


def test_on_a_phone_a_wide_table_becomes_a_card_a_unit_whose_figures_say_what_they_are() -> None:
    html = render(digest_of(m.Cadence.DAILY), "C").html
    assert ".cards tr { margin: 0 0 10px !important" in html
    assert 'class="rows cards"' in html
    assert re.search(r'data-label="Max"[^>]*>7\.5', html)
    # A narrow table stays one.
    assert 'class="rows"' in render(digest_of(m.Cadence.MONTHLY), "C").html


def test_what_customers_call_things_cannot_become_markup() -> None:
    html = render(digest_of(m.Cadence.DAILY, organization_name="<script>alert(1)</script>"), "C").html
    assert "<script>" not in html
    assert "Fridge &lt;0&gt; &amp; Söhne" in html


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("Corner Store", "Daily Temperature Summary - Corner Store"),
        ("Corner\r\nBcc: everyone@example.com", "Daily Temperature Summary - Corner Bcc: everyone@example.com"),
        ("  ", "Daily Temperature Summary - your units"),
        ("x" * 400, "Daily Temperature Summary - " + "x" * 122),
    ],
)
def test_the_subject_is_one_line_with_the_organization(name: str, subject: str) -> None:
    assert words.subject(m.Cadence.DAILY, name) == subject


def test_each_recipient_gets_links_of_their_own() -> None:
    rendered = render(digest_of(m.Cadence.DAILY), "C")
    copy = copy_for(
        rendered,
        mail_id="id-1",
        sender=Mailbox("digests@freshtrack.example.com"),
        recipient=Mailbox("pat@example.com"),
        unsubscribe_url="https://freshtrack.example.com/u?t=1&s=2",
    )
    assert 'href="https://freshtrack.example.com/u?t=1&amp;s=2"' in copy.html
    assert "https://freshtrack.example.com/u?t=1&s=2" in copy.text
    for part in (copy.html, copy.text):
        assert UNSUBSCRIBE not in part


@pytest.mark.parametrize("cadence", list(m.Cadence))
def test_a_mail_links_only_to_pages_that_exist(cadence: m.Cadence) -> None:
    rendered = render(digest_of(cadence, units=90), "C")
    links = {*re.findall(r'href="([^"]*)"', rendered.html), *re.findall(r"https?://\S+", rendered.text)}
    assert links == {UNSUBSCRIBE}
    assert "web page" not in rendered.html + rendered.text
    paths = {route.path for route in router.routes if isinstance(route, APIRoute)}
    assert "/unsubscribe/{token}" in paths
    assert (
        Links("https://x.example.com", b"s" * 32)
        .unsubscribe("ann", cadence)
        .startswith("https://x.example.com/unsubscribe/")
    )


def test_the_message_has_all_parts_and_one_click_unsubscription() -> None:
    message = message_from_bytes(mail().mime().as_bytes(), policy=default)
    assert isinstance(message, EmailMessage)
    assert message["List-Unsubscribe"] == "<https://freshtrack.example.com/u/abc>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["Message-ID"] == "<5f0c1a52-0000-5000-8000-000000000001@freshtrack.example.com>"
    assert message["Subject"] == "Daily Temperature Summary - Corner Störe"
    assert message["To"] == "Pat Köhler <pat@example.com>"
    structure = [part.get_content_type() for part in message.walk()]
    assert structure == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "application/pdf",
    ]
    text = message.get_body(("plain",))
    assert text is not None
    assert text.get_content().splitlines() == ["2 °C", ".", "end"]
    picture = next(part for part in message.walk() if part.get_content_type() == "image/png")
    assert picture["Content-ID"] == "<curve-0>"
    assert picture.get_content() == PIXEL
    assert [part.get_filename() for part in message.iter_attachments()] == ["report.pdf"]


@pytest.mark.parametrize(
    "address",
    [
        "",
        "pat",
        "pat@",
        "@example.com",
        "pat@example",
        "a b@example.com",
        "pat@example.com\r\nBcc: x@example.com",
        "a@b@example.com",
        "pat@exämple.com",
        "<pat@example.com>",
    ],
)
def test_what_is_not_one_plain_address_is_refused_without_being_shown_whole(address: str) -> None:
    with pytest.raises(AddressError) as error:
        mail(to=address)
    user = address.partition("@")[0]
    assert len(user) < 2 or user not in str(error.value)
    assert mask("pat@example.com") == "p***@example.com"


def test_a_letter_without_enclosures_is_just_two_parts() -> None:
    copy = copy_for(
        RenderedDigest("s", "<p>h</p>", "t"),
        mail_id="id",
        sender=Mailbox("a@example.com"),
        recipient=Mailbox("b@example.com"),
        unsubscribe_url="https://example.com/u",
    )
    assert [part.get_content_type() for part in copy.mime().walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]


@pytest.mark.parametrize("units", [0, 3, 120])
def test_the_report_is_the_same_bytes_for_the_same_digest(units: int) -> None:
    report = compliance_pdf(digest_of(m.Cadence.WEEKLY, units), "F")
    assert report.startswith(b"%PDF-")
    assert report == compliance_pdf(digest_of(m.Cadence.WEEKLY, units), "F")
    pages = len(re.findall(rb"/Type /Page\b", report))
    assert pages >= {0: 1, 3: 1, 120: 4}[units]
