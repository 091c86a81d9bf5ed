"""`topics acls`: the broker's access rights, printed for Kafka's own tool, or applied."""

from __future__ import annotations

from typing import Annotated

import typer

PrincipalPrefix = Annotated[str, typer.Option(help="put before every process' name in its principal")]


def acls(
    apply: Annotated[bool, typer.Option("--apply", help="add them at the broker, instead of printing")] = False,
    prefix: Annotated[str | None, typer.Option(help="of topics and groups; by default KAFKA_TOPIC_PREFIX")] = None,
    principal_prefix: PrincipalPrefix = "",
    time_limit_s: Annotated[float, typer.Option(min=0.1, help="how long to wait for the broker")] = 30.0,
) -> None:
    """Print kafka-acls commands by which every process writes its own topics only; --apply adds the rights itself.

    The principals are User:producer, api, relay, detection, notifications, digests and recorder. Rights are added,
    never removed. `topics create` and the broker's other administration need a user of their own.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    from broker import acls as rights
    from broker.settings import KafkaSettings

    settings = KafkaSettings()
    chosen = settings.topic_prefix if prefix is None else prefix
    if not apply:
        for line in rights.commands(settings.bootstrap_servers, prefix=chosen, before=principal_prefix):
            typer.echo(line)
        return
    admin = AdminClient({"log_level": 2, **settings.librdkafka()})
    try:
        count = rights.apply(admin, prefix=chosen, before=principal_prefix, time_limit_s=time_limit_s)
    except KafkaException as error:
        typer.secho(f"the broker refused: {error.args[0].str()}", fg="red", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{count} rights are at the broker")
