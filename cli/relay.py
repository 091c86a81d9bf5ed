"""`relay` and `config republish`: from the database to Kafka."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.db import database_settings

config = typer.Typer(no_args_is_help=True, help="The configuration topics.")


def relay(
    metrics_port: Annotated[int | None, typer.Option(help="serve Prometheus metrics on it")] = None,
    metrics_host: Annotated[str, typer.Option(envvar="METRICS_HOST", help="0.0.0.0 opens them")] = "127.0.0.1",
) -> None:
    """Publish the messages of the outbox, and prune old rows daily; one relay works, the others stand by.

    Retention is set by RETENTION_ variables; `freshtrack retention` shows all.
    """
    from broker.settings import KafkaSettings
    from database.engine import make_engine
    from database.retention import RetentionSettings
    from outbox.pruning import Pruning
    from outbox.relay import Relay
    from streams.engine import logs

    database = database_settings()
    logs.configure(worker="relay")

    async def run() -> None:
        engine = make_engine(database.model_copy(update={"pool_size": 1}))
        pruning = Pruning(engine, RetentionSettings(), lambda: datetime.now(UTC))
        running = Relay(database, KafkaSettings(), pruning.run)
        if metrics_port is not None:
            from prometheus_client import start_http_server

            start_http_server(metrics_port, addr=metrics_host)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, running.stop)
        try:
            await running.run()
        finally:
            await engine.dispose()

    asyncio.run(run())


@config.command()
def republish() -> None:
    """Rewrite the configuration topics from the database."""
    from broker.settings import KafkaSettings
    from database.engine import make_engine
    from outbox.republish import republish as enqueue
    from outbox.topic_scan import TopicReadError

    database = database_settings()

    async def run() -> None:
        engine = make_engine(database)
        try:
            for topic, entries, tombstones in await enqueue(engine, KafkaSettings()):
                typer.echo(f"{topic:20} {entries} entries, {tombstones} tombstones")
        finally:
            await engine.dispose()

    try:
        asyncio.run(run())
    except (OSError, TopicReadError) as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(1) from None


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(rich_help_panel="Processes")(relay)
    app.add_typer(config, name="config", rich_help_panel="Operations")
