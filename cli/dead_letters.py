"""`dead-letters`: look at what was given up, and send it again."""

from __future__ import annotations

import getpass
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cli.instants import instant_ms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broker.settings import KafkaSettings
    from domain.redrive.dead_letters import LetterId, Selection
    from domain.redrive.redrive import AlertStanding
    from outbox.redrives import Filed, Verdict

commands = typer.Typer(no_args_is_help=True, help="Dead letters: look at what was given up, and send it again.")

Topic = Annotated[list[str] | None, typer.Option(help="sms, readings or email; may be repeated", show_default="all")]
Organization = Annotated[str | None, typer.Option(help="only of this organization; dead readings name none")]
User = Annotated[str | None, typer.Option(help="only for this user")]
Reason = Annotated[str | None, typer.Option(help="only given up for this reason, such as exhausted")]
Code = Annotated[str | None, typer.Option(help="only with this error code, such as 40001 or timeout")]
Since = Annotated[str | None, typer.Option(help="given up at or after: 2026-03-01T12:00Z, or 36h ago as 36h")]
Until = Annotated[str | None, typer.Option(help="given up before: written like --since")]
TimeLimit = Annotated[float, typer.Option(min=0.1, help="how long to read at most")]
Force = Annotated[bool, typer.Option("--force", help="overrule what speaks against it")]
MaxAge = Annotated[float, typer.Option(min=0, help="hours; what is older is refused as stale")]


@commands.command("list")
def list_(
    topic: Topic = None,
    organization: Organization = None,
    user: User = None,
    reason: Reason = None,
    code: Code = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="the newest so many")] = 50,
    open_only: Annotated[bool, typer.Option("--open", help="only what was not sent again yet")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
    time_limit_s: TimeLimit = 60.0,
) -> None:
    """Show dead letters, the newest first; numbers and addresses are masked."""
    from outbox.redrives import find

    selection = _selection(topic, organization, user, reason, code, since, until)
    with told():
        found = find(kafka_settings(), selection, limit=limit, open_only=open_only, limit_s=time_limit_s)
    for filed in found.letters:
        typer.echo(_as_json(filed) if as_json else _as_line(filed))
    if not as_json:
        more = f", the newest {len(found.letters)} are shown" if found.count > len(found.letters) else ""
        typer.echo(f"{found.count} dead letters{more}")


@commands.command()
def redrive(
    letters: Annotated[
        list[str] | None, typer.Argument(metavar="ID...", help="TOPIC/PARTITION/OFFSET, as `list` shows them")
    ] = None,
    topic: Topic = None,
    organization: Organization = None,
    user: User = None,
    reason: Reason = None,
    code: Code = None,
    since: Since = None,
    until: Until = None,
    everything: Annotated[bool, typer.Option("--all", help="a filter that takes all")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="the oldest so many that the filter takes")] = 500,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done, do nothing")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="with a filter: do it")] = False,
    force: Force = False,
    max_age_h: MaxAge = 24.0,
    time_limit_s: TimeLimit = 60.0,
) -> None:
    """Send dead letters again: those that are named, or those that a filter takes and nobody sent again yet.

    With a filter nothing is done without --yes. What is older than --max-age-h, was sent again five times already, or
    is about an alert that is over (when DATABASE_URL is set), is refused; --force overrules that. Exits 1 when a letter
    that was named is refused, or when the broker did not take one.
    """
    from domain.redrive.redrive import Options
    from outbox.redrives import find, judge

    filters = (topic, organization, user, reason, code, since, until)
    filtered = everything or any(option is not None for option in filters)
    if bool(letters) == filtered:
        raise typer.BadParameter("name letters, or filter them (--all takes every one); not both")
    places = _places(letters or [])
    selection = _selection(*filters)
    kafka, now_ms = kafka_settings(), time.time_ns() // 1_000_000
    with told():
        if filtered:
            matches = find(kafka, selection, limit=limit, newest=False, open_only=True, limit_s=time_limit_s)
            chosen, left = matches.letters, matches.count - len(matches.letters)
        else:
            chosen, left = _fetched(kafka, places, time_limit_s), 0
        alerts = alerts_of(sorted({filed.facts.alert_id for filed in chosen if filed.facts.alert_id is not None}))
        options = Options(force=force, max_age_ms=round(max_age_h * 3_600_000))
        verdicts = judge(chosen, now_ms=now_ms, options=options, alerts=alerts)
        failed = _carry_out(kafka, verdicts, dry_run=dry_run or (filtered and not yes), now_ms=now_ms, left=left)
    refused = len(chosen) < len(places) or any(not _goes(verdict) for verdict in verdicts)
    raise typer.Exit(bool(failed or (refused and not filtered)))


def _carry_out(kafka: KafkaSettings, verdicts: Sequence[Verdict], *, dry_run: bool, now_ms: int, left: int) -> int:
    """Send what may be sent, say what became of each; returns how many the broker did not take."""
    from outbox.redrives import send_again
    from producers.kafka import KafkaProducer

    failed: dict[LetterId, str] = {}
    if not dry_run and any(map(_goes, verdicts)):
        with KafkaProducer({"log_level": 2, **kafka.librdkafka()}, prefix=kafka.topic_prefix) as producer:
            failed = send_again(producer, verdicts, by=f"cli:{_user()}", now_ms=now_ms).failed
    for verdict in verdicts:
        typer.echo(_verdict_line(verdict, failed.get(verdict.filed.place), dry_run=dry_run))
    going = sum(map(_goes, verdicts)) - len(failed)
    words = "would be sent again" if dry_run else "sent again"
    rest = f", {left} more that the filter takes: run it again" if left else ""
    typer.echo(f"{going} {words}, {sum(not _goes(v) for v in verdicts)} refused, {len(failed)} failed{rest}")
    if dry_run:
        typer.echo("nothing was done")
    return len(failed)


def _verdict_line(verdict: Verdict, failure: str | None, *, dry_run: bool) -> str:
    from domain.redrive.redrive import Refused

    place, decision = verdict.filed.place, verdict.decision
    if isinstance(decision, Refused):
        return f"{place}  refused ({decision.reason}): {decision.detail}"
    if failure is not None:
        return f"{place}  failed: {failure}"
    return f"{place}  {'would go' if dry_run else 'sent'} to {decision.topic.name} as redrive {decision.redrives}"


def _goes(verdict: Verdict) -> bool:
    from domain.redrive.redrive import Refused

    return not isinstance(verdict.decision, Refused)


def _places(names: Sequence[str]) -> list[LetterId]:
    from domain.redrive.dead_letters import LetterId as Id

    try:
        return list(dict.fromkeys(Id.parse(name) for name in names))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _fetched(kafka: KafkaSettings, places: Sequence[LetterId], limit_s: float) -> list[Filed]:
    from outbox.redrives import fetch

    found = []
    for place in places:
        filed = fetch(kafka, place, limit_s=limit_s)
        if filed is None:
            typer.secho(f"{place}  no dead letter lies there", fg="red", err=True)
        else:
            found.append(filed)
    return found


def alerts_of(alert_ids: Sequence[str]) -> dict[str, AlertStanding]:
    """What the database knows of the alerts; nothing where none is set."""
    import os

    if not alert_ids or not os.environ.get("DATABASE_URL"):
        return {}
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

    from cli.db import with_engine
    from outbox.alert_states import alert_standings

    async def ask(engine: AsyncEngine) -> dict[str, AlertStanding]:
        async with AsyncSession(engine) as session:
            return await alert_standings(session, alert_ids)

    return with_engine(ask)


def _selection(
    topics: Sequence[str] | None,
    organization: str | None,
    user: str | None,
    reason: str | None,
    code: str | None,
    since: str | None,
    until: str | None,
) -> Selection:
    from domain.redrive.dead_letters import NAMES
    from domain.redrive.dead_letters import Selection as Chosen

    if unknown := sorted(set(topics or ()) - set(NAMES)):
        raise typer.BadParameter(f"--topic {unknown[0]!r} is none of {', '.join(NAMES)}")
    return Chosen(
        names=None if topics is None else frozenset(topics),
        organization_id=organization,
        user_id=user,
        reason=reason,
        error_code=code,
        since_ms=None if since is None else instant_ms("--since", since),
        until_ms=None if until is None else instant_ms("--until", until),
    )


def _as_line(filed: Filed) -> str:
    from datetime import UTC, datetime

    from domain.redrive.dead_letters import masked_text

    facts = filed.facts
    at = datetime.fromtimestamp(facts.at_ms / 1000, UTC)
    settled = f"  sent again by {filed.settled.by}" if filed.settled else ""
    return (
        f"{filed.place!s:24} {at:%F %T}Z  {facts.lane:14} {facts.organization_id or '-':12} {facts.user_id or '-':12}"
        f" {facts.reason} {facts.error_code}, attempts {facts.attempts}, redrives {facts.redrives}:"
        f" {masked_text(facts.error)}{settled}"
    )


def _as_json(filed: Filed) -> str:
    import msgspec

    from domain.redrive.dead_letters import masked_text

    facts = msgspec.structs.asdict(msgspec.structs.replace(filed.facts, error=masked_text(filed.facts.error)))
    line = {"letter": str(filed.place), "topic": filed.kind.name} | facts | {"settled": filed.settled}
    return msgspec.json.encode(line).decode()


@contextmanager
def told() -> Iterator[None]:
    """What the broker or the topics are in the way with ends the command with one sentence."""
    from outbox.topic_scan import TopicReadError
    from producers.errors import NotDeliveredError, QueueFullError

    try:
        yield
    except (TopicReadError, NotDeliveredError, QueueFullError) as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(1) from None


def kafka_settings() -> KafkaSettings:
    from broker.settings import KafkaSettings as Settings

    return Settings()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(commands, name="dead-letters", rich_help_panel="Operations")
