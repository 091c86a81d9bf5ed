"""`mqtt`: readings from an MQTT broker to Kafka."""

from __future__ import annotations

import signal
import time
from typing import Annotated

import typer


def mqtt(
    metrics_port: Annotated[int | None, typer.Option(help="serve Prometheus metrics on it")] = None,
    metrics_host: Annotated[str, typer.Option(envvar="METRICS_HOST", help="0.0.0.0 opens them")] = "127.0.0.1",
) -> None:
    """Forward readings from MQTT until SIGTERM; topics: organization/ORGANIZATION/site/SITE/unit/UNIT/temperature.

    Settings are MQTT_HOST etc.
    """
    from pydantic import ValidationError

    from broker.settings import KafkaSettings
    from producers.errors import NotDeliveredError
    from producers.mqtt import Bridge, BridgeFailedError
    from producers.mqtt_settings import MqttSettings
    from streams.engine import logs

    logs.configure(worker="mqtt")
    try:
        bridge = Bridge(MqttSettings(), KafkaSettings(), lambda: time.time_ns() // 1_000_000)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))} {e['msg']}".strip() for e in error.errors())
        typer.secho(f"A setting is wrong: {wrong}", fg="red", err=True)
        raise typer.Exit(2) from None
    if metrics_port is not None:
        from prometheus_client import start_http_server

        start_http_server(metrics_port, addr=metrics_host)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: bridge.stop())
    try:
        bridge.run()
    except (BridgeFailedError, NotDeliveredError) as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(1) from None


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel="Processes")(mqtt)
