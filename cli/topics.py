"""`topics`: make them from their declarations, check what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.topic_acls import acls

if TYPE_CHECKING:
    from broker.settings import KafkaSettings

commands = typer.Typer(no_args_is_help=True, help="Topics: make them from their declarations, check what is there.")

Prefix = Annotated[
    str | None, typer.Option(help="put before every topic's name; by default KAFKA_TOPIC_PREFIX", show_default=False)
]
TimeLimit = Annotated[float, typer.Option(min=0.1, help="how long to wait for the broker")]


def _settings() -> KafkaSettings:
    from broker.settings import KafkaSettings as Settings

    return Settings()


def _fail(message: str) -> typer.Exit:
    typer.secho(message, fg="red", err=True)
    return typer.Exit(1)


@commands.command()
def create(
    prefix: Prefix = None,
    replication_factor: Annotated[
        int, typer.Option(min=1, envvar="REPLICATION_FACTOR", help="copies of each partition; 3 in production")
    ] = 1,
    partitions: Annotated[
        int | None,
        typer.Option(
            min=1,
            envvar="TOPIC_PARTITIONS",
            help="of each topic that is made; by default what its declaration says, or those that it meets have",
            show_default=False,
        ),
    ] = None,
    partitions_of: Annotated[
        list[str] | None,
        typer.Option(metavar="TOPIC=COUNT", help="of one topic and those that it meets in a worker; repeatable"),
    ] = None,
    time_limit_s: TimeLimit = 30.0,
) -> None:
    """Make what is missing, set what differs, and say so; run it as often as you like.

    Partitions are never added to a topic that exists: keys would move. Exits 1 when one has another count than you
    ask for; `topics grow` changes it.
    """
    from confluent_kafka import KafkaException

    from broker.partition_counts import BrokerUnreachableError, PartitionCounts, TopicError
    from broker.topics import Did, create_topics

    settings = _settings()
    try:
        changes = create_topics(
            settings.librdkafka(),
            prefix=settings.topic_prefix if prefix is None else prefix,
            replication_factor=replication_factor,
            partitions=PartitionCounts(partitions, dict(map(_count_of, partitions_of or ()))),
            time_limit_s=time_limit_s,
        )
    except (BrokerUnreachableError, TopicError) as error:
        raise _fail(str(error)) from None
    except KafkaException as error:
        raise _fail(f"the broker refused: {error.args[0].str()}") from None
    for change in changes:
        typer.secho(str(change), fg="red" if change.did is Did.REFUSED else None)
    raise typer.Exit(any(change.did is Did.REFUSED for change in changes))


@commands.command()
def check(prefix: Prefix = None, time_limit_s: TimeLimit = 30.0) -> None:
    """Say what differs from the declarations; exits 1 when something does."""
    from broker.partition_counts import BrokerUnreachableError
    from broker.topics import check_topics
    from schemas.topics import TOPICS

    settings = _settings()
    try:
        problems = check_topics(
            settings.librdkafka(), prefix=settings.topic_prefix if prefix is None else prefix, time_limit_s=time_limit_s
        )
    except BrokerUnreachableError as error:
        raise _fail(str(error)) from None
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"all {len(TOPICS)} topics are as declared")


@commands.command()
def grow(
    partitions: Annotated[int, typer.Argument(min=1, help="how many each topic with fewer gets")],
    prefix: Prefix = None,
) -> None:
    """More partitions, with the workers' tables, timers and unread records moved to where their keys now belong.

    Stop everything that uses Kafka first: workers, api, relay, mqtt. Let the recorder read to the end before. A run
    that was cut off is finished by the same command; until then no worker starts.
    """
    from confluent_kafka import KafkaException

    from broker.growth.errors import GrowthError
    from broker.growth.grow import grow as grow_topics
    from broker.partition_counts import BrokerUnreachableError
    from streams.table_layout import LAYOUT

    settings = _settings()
    prefix = settings.topic_prefix if prefix is None else prefix
    try:
        grow_topics(settings.librdkafka(), LAYOUT, partitions, prefix=prefix, tell=typer.echo)
    except (GrowthError, BrokerUnreachableError) as error:
        raise _fail(str(error)) from None
    except KafkaException as error:
        raise _fail(f"the broker refused: {error.args[0].str()}; run `topics grow {partitions}` again") from None


def _count_of(option: str) -> tuple[str, int]:
    name, _, count = option.partition("=")
    if not count.isdecimal() or int(count) < 1:
        raise _fail(f"--partitions-of {option}: expected TOPIC=COUNT, such as readings=32")
    return name, int(count)


commands.command()(acls)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(commands, name="topics", rich_help_panel="Operations")
