"""The worker `digests`: preferences and timers → due digests → numbers, rendered digests → mails."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import TYPE_CHECKING

import structlog

from database.engine import DatabaseSettings, make_engine
from schemas import messages as m
from schemas import topics as t
from streams.digests.digests_to_email import DigestsToEmail
from streams.digests.email_retries_to_email import EmailRetries
from streams.digests.email_to_provider import Mailing
from streams.digests.job_work import JobWork
from streams.digests.mail.conclusion import Conclusion
from streams.digests.mail.copies import Copies, Links
from streams.digests.mail.ledger import Ledger, is_over
from streams.digests.mail.page_conclusion import PageConclusion
from streams.digests.mail.pause import Pause
from streams.digests.mail.records import EmailRecords
from streams.digests.mail.settings import MailSettings, provider
from streams.digests.metrics import DigestCounters, digests_metrics
from streams.digests.pages_to_email import PagesToEmail
from streams.digests.plans import Plans
from streams.digests.preferences_to_runs import PreferencesToRuns
from streams.digests.runs_to_jobs import RunsToJobs
from streams.digests.settings import DigestsSettings
from streams.digests.store import DigestStore
from streams.digests.waiting import Waiting
from streams.engine.app import create_app
from streams.engine.applied_offset import applied_offset_of
from streams.engine.expiry import Expiry
from streams.engine.global_table import GlobalTable, load_before_work
from streams.engine.metrics import serve_metrics
from streams.engine.timers import Timers
from streams.engine.wiring import agent, dead_letters, now_ms, publisher

if TYPE_CHECKING:
    import faust

    from streams.digests.mail.provider import Provider
    from streams.digests.report.rendered_digest import Mailbox
    from streams.engine.interfaces import Entries, Publish

log = structlog.get_logger(__name__)

FLOWS = (t.DIGEST_PREFERENCES, t.DIGEST_RUNS, t.DIGEST_JOBS, t.EMAIL_REQUESTS, t.EMAIL_RETRIES, t.PAGE_EMAILS)


def build() -> faust.App:
    settings, mail = DigestsSettings(), MailSettings()
    engine = make_engine(DatabaseSettings())
    app = create_app("digests", settings, batched=FLOWS, applied_offset_of=applied_offset_of)
    units = GlobalTable(t.UNITS, m.UnitConfig, settings)
    contacts = GlobalTable(t.CONTACTS, m.Contact, settings)
    preferences = GlobalTable(t.DIGEST_PREFERENCES, m.DigestPreference, settings)
    load_before_work(app, [units, contacts, preferences])
    count = settings.partitions(t.EMAIL_REQUESTS)
    plan_table, timer_table, entries = (
        app.Table(name, partitions=count, key_type=bytes, value_type=bytes)
        for name in ("digest-plans", "digest-timers", "email-ledger")
    )
    send = publisher(app)
    records = EmailRecords(now_ms)
    timers = Timers(timer_table, send, now_ms)
    store = DigestStore(engine)
    counters = DigestCounters()
    plans = Plans(plan_table, timers, now_ms)
    waiting = Waiting(store, settings.digest_wait_s, now_ms)
    jobs = DigestsToEmail(
        work=JobWork(store, units, waiting, send, counters, now_ms),
        waiting=waiting,
        records=records,
        publish=send,
        counters=counters,
        now_ms=now_ms,
        rng=random.SystemRandom(),
    )
    copies = Copies(store, contacts, preferences, mail.mailbox(), _links(settings), now_ms)
    # Digests and pages leave through one provider, and share what is known of it.
    out, pause, ledger = _provider(mail), Pause(now_ms, asyncio.sleep), Ledger(entries)
    mailing = _mailing(settings, (out, pause), copies, ledger, records, send)
    conclusion = PageConclusion(ledger=ledger, timers=timers, publish=send, now_ms=now_ms)
    pages = _pages(settings, (out, pause), mail.mailbox(), contacts, ledger, conclusion, send)
    retries = EmailRetries(timers, send, now_ms)
    flow = partial(agent, app, set_aside=dead_letters(app, t.EMAIL_DLQ, send))
    flow(t.DIGEST_PREFERENCES, PreferencesToRuns(send, plans, now_ms).handle)
    flow(t.DIGEST_RUNS, RunsToJobs(send, plans, counters, now_ms).handle)
    # As many as may be in hand: one that lay behind batches that wait for buckets would be taken for stuck.
    flow(t.DIGEST_JOBS, jobs.handle, at_once=settings.queued_batches)
    flow(t.EMAIL_REQUESTS, mailing.handle)
    flow(t.EMAIL_RETRIES, retries.handle)
    flow(t.PAGE_EMAILS, pages.handle)
    app.task(timers.run)
    app.task(Expiry("email-ledger", entries, lambda _, raw: is_over(raw, now_ms())).run)
    metrics = digests_metrics(counters, mailing, conclusion.decided, timers, [units, contacts, preferences])
    serve_metrics(app, settings.metrics_port, metrics)
    return app


def _mailing(
    settings: DigestsSettings,
    way_out: tuple[Provider, Pause],
    copies: Copies,
    ledger: Ledger,
    records: EmailRecords,
    send: Publish,
) -> Mailing:
    provider, pause = way_out
    return Mailing(
        provider=provider,
        pause=pause,
        copies=copies,
        conclusion=Conclusion(records=records, ledger=ledger, publish=send, now_ms=now_ms),
        ledger=ledger,
        records=records,
        publish=send,
        policy=settings.email_retries(),
        deadline_ms=round(settings.email_deadline_s * 1000),
        concurrency=settings.email_concurrency,
        now_ms=now_ms,
        rng=random.SystemRandom(),
    )


def _pages(
    settings: DigestsSettings,
    way_out: tuple[Provider, Pause],
    sender: Mailbox,
    contacts: Entries[m.Contact],
    ledger: Ledger,
    conclusion: PageConclusion,
    send: Publish,
) -> PagesToEmail:
    provider, pause = way_out
    return PagesToEmail(
        provider=provider,
        pause=pause,
        contacts=contacts,
        sender=sender,
        ledger=ledger,
        conclusion=conclusion,
        publish=send,
        policy=settings.email_retries(),
        deadline_ms=round(settings.page_email_deadline_s * 1000),
        now_ms=now_ms,
        rng=random.SystemRandom(),
    )


def _links(settings: DigestsSettings) -> Links:
    secret = settings.unsubscribe_secret.get_secret_value().encode()
    return Links(settings.public_url.rstrip("/"), secret)


def _provider(mail: MailSettings) -> Provider:
    """Ends the process with one sentence where a setting is missing."""
    try:
        return provider(mail)
    except ValueError as error:
        log.critical("worker.cannot_start", why=str(error))
        raise SystemExit(1) from None
