"""`sms rerun`: send an SMS again that was done with."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from cli.dead_letters import Force, MaxAge, TimeLimit, alerts_of, kafka_settings, told
from cli.instants import instant_ms

commands = typer.Typer(no_args_is_help=True, help="SMS.")


@commands.command()
def rerun(
    request_id: Annotated[str, typer.Argument(help="as in the SMS log and in `sms-outcomes`")],
    user: Annotated[str | None, typer.Option(help="whose it is: reads one partition instead of all")] = None,
    since: Annotated[str | None, typer.Option(help="it was requested at or after: 2026-03-01T12:00Z, or 36h")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done, do nothing")] = False,
    force: Force = False,
    max_age_h: MaxAge = 24.0,
    time_limit_s: TimeLimit = 30.0,
) -> None:
    """Send an SMS again that was done with: delivered, limited, opted out of or cancelled. Exits 1 when refused.

    Its request is searched in the lanes, which keep it for 7 days.
    """
    from domain.redrive.redrive import Options, Refused, decide_rerun
    from outbox.sms_requests import find_sms, send_rerun
    from producers.kafka import KafkaProducer

    kafka = kafka_settings()
    since_ms = None if since is None else instant_ms("--since", since)
    with told():
        past = find_sms(kafka, request_id, user_id=user, since_ms=since_ms, limit_s=time_limit_s)
        alerts = {} if past is None else alerts_of([past.request.alert_id])
        decision = decide_rerun(
            past,
            now_ms=time.time_ns() // 1_000_000,
            options=Options(force=force, max_age_ms=round(max_age_h * 3_600_000)),
            alert=None if past is None else alerts.get(past.request.alert_id),
        )
        if isinstance(decision, Refused):
            typer.secho(f"{request_id}  refused ({decision.reason}): {decision.detail}", fg="red", err=True)
            raise typer.Exit(1)
        where = f"{decision.topic.name} as redrive {decision.redrives}"
        if dry_run:
            typer.echo(f"{request_id}  would go to {where}; nothing was done")
            return
        with KafkaProducer({"log_level": 2, **kafka.librdkafka()}, prefix=kafka.topic_prefix) as producer:
            send_rerun(producer, decision)
        typer.echo(f"{request_id}  sent to {where}")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(commands, name="sms", rich_help_panel="Operations")
