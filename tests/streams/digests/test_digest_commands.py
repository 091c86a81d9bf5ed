"""`freshtrack digest`: what people type, against a real database; and the worker's own start."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import msgspec
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from typer.testing import CliRunner

from cli.__main__ import app
from database.configuration import ContactRow, DigestPreferenceRow, OrganizationRow, UnitRow
from database.queues import OutboxRow
from domain.digest.plan import newest_period
from schemas import messages as m
from schemas.topics import DIGEST_RUNS
from streams.digests.metrics import DigestCounters, digests_metrics
from tests.streams.digests.mail_world import World, mail_request

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy.ext.asyncio import AsyncEngine
    from typer.testing import Result

postgres = pytest.mark.postgres


@pytest.fixture
async def furnished(database: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> AsyncEngine:
    """Acme with a fridge, and ann who takes digests in Kolkata."""
    monkeypatch.setenv("DATABASE_URL", database.url.render_as_string(hide_password=False))
    async with AsyncSession(database) as session, session.begin():
        session.add(OrganizationRow(organization_id="acme", name="Acme Foods"))
        await session.flush()
        session.add(ContactRow(user_id="ann", organization_id="acme", name="Ann", email="ann@example.com"))
        session.add(UnitRow(unit_id="fridge", organization_id="acme", name="Fridge"))
        await session.flush()
        session.add(
            DigestPreferenceRow(user_id="ann", organization_id="acme", cadences=["daily"], timezone="Asia/Kolkata")
        )
    return database


async def run(*arguments: str) -> Result:
    # The commands have an event loop of their own.
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, ["digest", *arguments]))


@pytest.mark.anyio
@postgres
async def test_a_digest_is_asked_for_by_name(furnished: AsyncEngine) -> None:
    result = await run("send-now", "ann", "--cadence", "weekly", "--wait-s", "0.6")
    assert result.exit_code == 0, result.output
    period = newest_period(m.Cadence.WEEKLY, "Asia/Kolkata", int(datetime.now(UTC).timestamp() * 1000))
    assert f"from {period.first} to {period.until}" in result.output
    async with AsyncSession(furnished) as session:
        [row] = (await session.scalars(select(OutboxRow))).all()
    assert (row.topic, row.key) == (DIGEST_RUNS.name, "ann")
    order = msgspec.json.decode(row.value or b"", type=m.SendDigestNow)
    assert (order.cadence, order.timezone, order.organization_id) == (m.Cadence.WEEKLY, "Asia/Kolkata", "acme")


@pytest.mark.anyio
@postgres
async def test_who_takes_no_digests_is_named(furnished: AsyncEngine) -> None:
    result = await run("send-now", "bob")
    assert result.exit_code == 1
    assert "bob has no digest preference" in result.output


@pytest.mark.anyio
@postgres
async def test_a_preview_is_written_into_files(furnished: AsyncEngine, tmp_path: Path) -> None:
    page = tmp_path / "mail.html"
    result = await run("preview", "acme", "--cadence", "weekly", "--timezone", "Asia/Kolkata", "--out", str(page))
    assert result.exit_code == 0, result.output
    assert "Acme Foods" in page.read_text()
    assert "Fridge" in page.with_suffix(".txt").read_text()
    assert Path(result.output.split()[-1]).suffix == ".pdf"
    refused = await run("preview", "acme", "--timezone", "Mars/Olympus", "--out", str(page))
    assert refused.exit_code == 2


def test_the_worker_tells_what_it_has_done() -> None:
    class Timers:
        fired = 3

        def __len__(self) -> int:
            return 2

    world = World()
    world.send(mail_request())
    timers: Any = Timers()
    collect = digests_metrics(DigestCounters(due=7), world.mailing, Counter(page_email_sent=2), timers, [])
    samples = {
        (sample.name, *sample.labels.values()): sample.value for metric in collect() for sample in metric.samples
    }
    assert samples["freshtrack_digests_due_total",] == 7
    assert samples["freshtrack_emails_total", "sent"] == 1
    assert samples["freshtrack_page_emails_total", "page_email_sent"] == 2
    assert (samples["freshtrack_timers_fired_total",], samples["freshtrack_timers_pending",]) == (3, 2)


def test_a_worker_without_its_providers_key_says_so_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from streams.digests.mail.settings import MailSettings

    # The package itself would build the app under that name.
    digests = import_module("streams.digests.app")
    said: list[str] = []
    monkeypatch.setattr(digests, "log", SimpleNamespace(critical=lambda _, *, why: said.append(why)))
    monkeypatch.setenv("MAIL_PROVIDER", "sendgrid")
    monkeypatch.delenv("MAIL_API_KEY", raising=False)
    with pytest.raises(SystemExit):
        digests._provider(MailSettings())
    assert said == ["MAIL_API_KEY is not set, and MAIL_PROVIDER=sendgrid needs it"]


def test_every_batch_of_jobs_that_may_be_in_hand_is_at_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The watchdog takes one that waits behind others for stuck, and they may wait for buckets for minutes."""
    from streams.digests.settings import DigestsSettings

    digests = import_module("streams.digests.app")
    seen: dict[str, int] = {}
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://localhost/none")
    monkeypatch.setenv("PUBLIC_URL", "http://localhost")
    monkeypatch.setenv("UNSUBSCRIBE_SECRET", "s" * 40)
    monkeypatch.setattr(DigestsSettings, "partitions", lambda *_: 3)
    monkeypatch.setattr(digests, "serve_metrics", lambda *_: None)
    monkeypatch.setattr(
        digests, "agent", lambda _, topic, __, *, set_aside, at_once=1: seen.__setitem__(topic.name, at_once)
    )
    digests.build()
    assert seen["digest-jobs"] == DigestsSettings().queued_batches
