"""Runs one worker process from its start to the last commit."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pydantic
import structlog

from broker.partition_counts import BrokerUnreachableError, TopicError, check_partitions
from streams.engine import logs
from streams.engine.settings import WorkerSettings
from streams.engine.topic_identity import check_identity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import faust

log = structlog.get_logger(__name__)

CANNOT_START = 1
READY_POLL_S = 0.02


def run(name: str, build: Callable[[str], faust.App]) -> None:
    """Run the worker called `name`, whose app `build` makes, until SIGTERM or SIGINT; ends the process.

    Exit code 0 after a clean stop, 1 after an error; `streams/engine/deadline.py` and `freeze_guard.py` have theirs.
    Whatever the code: what was not committed is read again by the next owner.
    """
    begin = time.monotonic()
    logs.configure(worker=name)
    try:
        settings = WorkerSettings()
        check_partitions(settings.librdkafka(), prefix=settings.topic_prefix)
        app = build(name)
        check_identity(settings, app.conf.id, app.batch_sizes.keys())
    except (TopicError, BrokerUnreachableError) as error:
        _cannot_start(str(error))
    except pydantic.ValidationError as error:
        _cannot_start("; ".join(f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors()))
    # What Faust's own command line does: it installs the freeze guard and the deadline of a crash.
    app.worker_init()
    app.worker_init_post_autodiscover()
    app.task(_announcer(app, begin))
    worker = app.conf.Worker(app, override_logging=False, redirect_stdouts=False, quiet=True, loglevel="WARNING")
    # It writes escape codes to stdout even where that is no terminal.
    worker.spinner = None
    worker.execute_from_commandline()


def _cannot_start(why: str) -> None:
    log.critical("worker.cannot_start", why=why)
    raise SystemExit(CANNOT_START) from None


def _announcer(app: faust.App, begin: float) -> Callable[[], Awaitable[None]]:
    from streams.engine.app import tune_garbage_collection
    from streams.engine.publish import know_topics

    async def announce() -> None:
        while not app.consumer.member.ready:
            await app.producer.sleep(READY_POLL_S)
        await know_topics(app)
        # What global tables and recovery loaded stays: the collector need not look at it again.
        tune_garbage_collection()
        log.info("worker.ready", seconds=round(time.monotonic() - begin, 2))

    return announce
