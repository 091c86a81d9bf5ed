"""`api`: the HTTP interface."""

from __future__ import annotations

import gc
import signal
import sys
from typing import Annotated

import typer

from cli.db import database_settings


def api(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one")] = 8080,
) -> None:
    """Serve the HTTP interface; start as many as there is load."""
    from pydantic import ValidationError

    from api.app import create_app
    from api.server import serve
    from api.settings import ApiSettings, TrustSettings
    from broker.settings import KafkaSettings
    from streams.engine import logs

    database = database_settings()
    try:
        settings, trust = ApiSettings(), TrustSettings()
    except ValidationError as error:
        wrong = "; ".join(f"{error.title} {'/'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        typer.secho(f"A setting of the api cannot be used. {wrong}", fg="red", err=True)
        raise typer.Exit(2) from None
    logs.configure(worker="api")
    # uvicorn drains and then raises the signal again; having drained is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    application = create_app(settings, database, KafkaSettings(), trust=trust)
    # Routes and models live as long as the process: there is no use in looking through them again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    serve(application, settings, host=host, port=port)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel="Processes")(api)
