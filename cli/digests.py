"""`digest`: send a user a digest now, look at one without sending, send the demo fleet's past readings."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from cli.db import with_engine
from schemas.messages import Cadence

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

    from domain.digest.schedule import Period
    from schemas.messages import UnitConfig

commands = typer.Typer(no_args_is_help=True, help="Digests by e-mail.")

LOOK_AGAIN_S = 0.5
DAY_S = 86_400.0
BACKFILL_INTERVAL_S = 14.0
BACKFILL_BATCH = 64


@commands.command("send-now")
def send_now(
    user: Annotated[str, typer.Argument(help="ORGANIZATION/USER; it takes a digest preference")],
    cadence: Annotated[Cadence, typer.Option(help="which digest")] = Cadence.DAILY,
    wait_s: Annotated[
        float, typer.Option(min=0, help="first wait so long for recorded readings of all units up to the period's end")
    ] = 0.0,
) -> None:
    """Send the digest of the newest whole period at once, beside the regular ones."""

    async def work(engine: AsyncEngine) -> str | None:
        from sqlalchemy.ext.asyncio import AsyncSession

        from database.configuration import DigestPreferenceRow
        from domain.digest.plan import newest_period
        from outbox.writer import publish_digest_command
        from schemas.messages import SendDigestNow

        now_ms = time.time_ns() // 1_000_000
        async with AsyncSession(engine, expire_on_commit=False) as session:
            preference = await session.get(DigestPreferenceRow, user)
            if preference is None:
                return None
            await session.commit()
            period = newest_period(cadence, preference.timezone, now_ms)
            await _until_recorded(session, preference.organization_id, period, wait_s)
            order = SendDigestNow(
                command_id=str(uuid.uuid4()),
                user_id=user,
                organization_id=preference.organization_id,
                cadence=cadence,
                timezone=preference.timezone,
                display_unit=preference.display_unit,
                requested_at_ms=now_ms,
            )
            await publish_digest_command(session, order)
            await session.commit()
        return f"The {cadence} digest from {period.first} to {period.until} (not included) is on its way to {user}."

    said = with_engine(work)
    if said is None:
        typer.secho(f"{user} has no digest preference; whose timezone should count?", fg="red", err=True)
        raise typer.Exit(1)
    typer.echo(said)


async def _until_recorded(session: AsyncSession, organization_id: str, period: Period, wait_s: float) -> None:
    """Until each unit has a recorded bucket of the period's last hour, `wait_s` at most."""
    from sqlalchemy import text

    missing = text(
        "SELECT count(*) FROM units WHERE organization_id = :organization AND NOT EXISTS (SELECT FROM unit_aggregates"
        " WHERE unit_aggregates.unit_id = units.unit_id AND starts_at >= CAST(:since AS timestamptz)"
        " AND starts_at < CAST(:until AS timestamptz))"
    )
    about = {"organization": organization_id, "since": period.ends_at - timedelta(hours=1), "until": period.ends_at}
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        if not await session.scalar(missing, about):
            return
        # A snapshot of a later moment, the next time.
        await session.commit()
        await asyncio.sleep(LOOK_AGAIN_S)


@commands.command()
def preview(
    organization: Annotated[str, typer.Argument(help="its id")],
    out: Annotated[Path, typer.Option(dir_okay=False, help="the page to write; the text part goes beside it")],
    cadence: Annotated[Cadence, typer.Option(help="which digest")] = Cadence.DAILY,
    timezone: Annotated[str, typer.Option(help="such as America/New_York")] = "UTC",
    fahrenheit: Annotated[bool, typer.Option("--fahrenheit", help="temperatures in °F")] = False,
) -> None:
    """Write the digest as it would be sent now into a file; nothing is sent or kept."""
    from domain.digest.schedule import ScheduleError

    async def work(engine: AsyncEngine) -> list[str]:
        from streams.digests.preview import preview as make
        from streams.digests.preview import with_pictures

        made = await make(
            engine,
            organization,
            await _units(engine, organization),
            cadence=cadence,
            timezone=timezone,
            display_unit="F" if fahrenheit else "C",
            now=datetime.now(UTC),
        )
        files = {out: with_pictures(made.rendered).encode(), out.with_suffix(".txt"): made.rendered.text.encode()}
        files |= {out.with_name(one.file_name): one.content for one in made.rendered.enclosures if not one.cid}
        for path, content in files.items():
            path.write_bytes(content)
        return [str(path) for path in files]

    try:
        written = with_engine(work)
    except ScheduleError as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo("\n".join(written))


async def _units(engine: AsyncEngine, organization: str) -> list[UnitConfig]:
    from sqlalchemy import select
    from sqlalchemy.ext.asyncio import AsyncSession

    from database.configuration import UnitRow
    from outbox.configuration import unit_configs

    async with AsyncSession(engine) as session:
        ids = await session.scalars(select(UnitRow.unit_id).where(UnitRow.organization_id == organization))
        return list((await unit_configs(session, list(ids))).values())


@commands.command()
def backfill(
    days: Annotated[int, typer.Option(min=1, max=40, help="whole days before today")] = 1,
    seed: Annotated[int, typer.Option(help="the same seed tells the same story")] = 7,
) -> None:
    """Send the demo fleet's readings of the past days to Kafka, all at once, so that there is something to sum up.

    Readings as old as that change the numbers and page nobody; detection takes those of yesterday also while newer
    ones come. `seed --demo` must have made the units known.
    """
    from broker.settings import KafkaSettings
    from domain.digest.plan import newest_period
    from producers.demo_fleet import FIRST_BREACH_UNIT, demo_fleet
    from producers.kafka import ReadingsProducer
    from producers.pacing import Tally, play
    from producers.refrigeration import Trouble
    from producers.simulator import Conditions, Incident, readings_of

    now_ms = time.time_ns() // 1_000_000
    fleet = demo_fleet(failures_per_day=0.15)
    timezones = {preference.organization_id: preference.timezone for preference in fleet.digest_preferences}
    door = [
        Incident(
            unit_id=FIRST_BREACH_UNIT, trouble=Trouble.DOOR_LEFT_OPEN, starts_s=day * DAY_S + 11_000, lasts_s=1_500
        )
        for day in range(days)
    ]
    settings = KafkaSettings()
    total = Tally()
    with ReadingsProducer({"log_level": 2, **settings.librdkafka()}, prefix=settings.topic_prefix) as producer:
        for organization_id, timezone in timezones.items():
            period = newest_period(Cadence.DAILY, timezone, now_ms)
            starts_at_ms = period.starts_at_ms - round((days - 1) * DAY_S * 1000)
            mine = {unit.unit_id for unit in fleet.units if unit.organization_id == organization_id}
            emissions = readings_of(
                [unit for unit in fleet.simulated if unit.unit_id in mine],
                start_at_ms=starts_at_ms,
                seed=seed,
                conditions=Conditions(interval_s=BACKFILL_INTERVAL_S, readings_per_batch=BACKFILL_BATCH),
                incidents=door,
                duration_s=(period.ends_at_ms - starts_at_ms) / 1000,
            )
            sent = play(producer, emissions)
            total = Tally(total.sent + sent.sent, total.acknowledged + sent.acknowledged, total.failed + sent.failed)
    typer.echo(f"{total}, of {len(fleet.units)} units and {days} days")
    raise typer.Exit(bool(total.failed))


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="digest", rich_help_panel="Operations")
