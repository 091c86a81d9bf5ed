"""`simulate` and `replay`: readings to Kafka, from a simulated fleet or from a file."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from cli.api_client import DEFAULT_URL
from producers.replay import Times

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from zoneinfo import ZoneInfo

    from producers.kafka import ReadingsProducer
    from producers.replay import Format
    from schemas.messages import Reading

# Workers follow the configuration topics within moments; a reading that overtook its unit would be a dead letter.
SETTLE_S = 1.0
SHOWN_BAD_LINES = 20


Speed = Annotated[
    float | None, typer.Option(min=0.001, help="play it so many times as fast as it was", show_default="at once")
]
SentAs = Annotated[
    Times | None,
    typer.Option(
        help="file: as they are; shift: the newest is now; live: each is new when it is sent, so that detection"
        " behaves as with a sensor",
        show_default="file, and live with --speed",
    ),
]
ApiUrl = Annotated[str, typer.Option(envvar="FRESHTRACK_API_URL", help="where the API is, with --high or --low")]


def simulate(
    copies: Annotated[int, typer.Option(min=1, max=10_000, help="twelve units each")] = 1,
    seed: Annotated[int, typer.Option(help="the same seed tells the same story")] = 1,
    compression: Annotated[
        float, typer.Option(min=0.1, help="seconds of refrigeration in one second; readings are stamped with real time")
    ] = 60.0,
    interval_s: Annotated[float, typer.Option(min=0.01, help="seconds between two readings of a unit")] = 1.0,
    batch: Annotated[int, typer.Option(min=1, help="readings that a gateway collects before it sends")] = 1,
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="share of the batches that is sent twice")] = 0.0,
    late: Annotated[float, typer.Option(min=0, max=1, help="share of the batches that comes ten minutes late")] = 0.0,
    failures: Annotated[float, typer.Option(min=0, help="compressor failures a unit and compressed day")] = 2.0,
    duration_s: Annotated[float | None, typer.Option(min=0, help="ends by itself", show_default="endless")] = None,
    first_breach: Annotated[
        bool, typer.Option(help="leave a door open at once: a breach within 3 s, then a recovery")
    ] = False,
) -> None:
    """Send readings of the demo's fleet until Ctrl-C or SIGTERM; `seed --demo` makes its units known."""
    from producers.demo_fleet import demo_fleet
    from producers.demo_fleet import first_breach as door_left_open
    from producers.pacing import pace, play
    from producers.simulator import Conditions, readings_of

    fleet = demo_fleet(copies=copies, failures_per_day=failures, interval_s=interval_s)
    stop = _stop_on_signals()
    with _producer() as producer:
        start_at_ms = _now_ms()
        emissions = readings_of(
            fleet.simulated,
            start_at_ms=start_at_ms,
            seed=seed,
            conditions=Conditions(
                interval_s=interval_s,
                compression=compression,
                readings_per_batch=batch,
                duplicate_share=duplicates,
                late_share=late,
            ),
            incidents=[door_left_open()] if first_breach else [],
            duration_s=duration_s,
        )
        tally = play(producer, pace(emissions, start_at_ms=start_at_ms, stopped=stop.wait))
    typer.echo(f"{tally}, of {len(fleet.units)} units")
    raise typer.Exit(bool(tally.failed))


def replay(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV with a time and a temperature column")],
    unit: Annotated[str, typer.Option(help="ORGANIZATION/UNIT")],
    speed: Speed = None,
    high: Annotated[float | None, typer.Option(help="page above this; in the file's unit of temperature")] = None,
    low: Annotated[float | None, typer.Option(help="page below this; in the file's unit of temperature")] = None,
    time_column: Annotated[str | None, typer.Option(help="its name", show_default="found")] = None,
    temperature_column: Annotated[str | None, typer.Option(help="its name", show_default="found")] = None,
    fahrenheit: Annotated[bool, typer.Option("--fahrenheit", help="the file is in °F")] = False,
    timezone: Annotated[str | None, typer.Option(help="of times that have no offset, such as Europe/Berlin")] = None,
    times: SentAs = None,
    batch: Annotated[int, typer.Option(min=1, help="readings in one message")] = 1,
    api_url: ApiUrl = DEFAULT_URL,
) -> None:
    """Send the readings of a file, for example a RuuviTag export as it comes.

    --high and --low first replace the unit's configuration by one with these limits, through the API (its key is in
    FRESHTRACK_API_KEY). Lines without a usable reading are shown and counted, the others are sent; exits 1 if there
    were any.
    """
    from cli.seed.seed_file import LONGEST_WINDOW_S
    from producers.pacing import pace, play
    from producers.replay import Format, as_emissions, parse_celsius, timed_for, too_old_to_page

    if "/" not in unit.strip("/"):
        raise _fail(f"--unit {unit!r} names no organization; write one like acme/freezer-1")
    form = Format(
        time_column=time_column,
        temperature_column=temperature_column,
        fahrenheit=fahrenheit,
        zone=_zone(timezone),
    )
    readings, bad = _read(file, form)
    if not readings:
        typer.secho(f"{file} has no usable reading ({bad} bad lines)", fg="red", err=True)
        raise typer.Exit(1)
    chosen = times or (Times.LIVE if speed else Times.FILE)
    high_c, low_c = (None if limit is None else parse_celsius(str(limit), fahrenheit) for limit in (high, low))
    stop = _stop_on_signals()
    if high_c is not None or low_c is not None:
        # Readings as old as the file shall page as well: that is what limits on a replay are for.
        reach_s = 900 if chosen is Times.LIVE else (_now_ms() - readings[0].at_ms) // 1000 + 86_400
        if chosen is Times.FILE and (warning := too_old_to_page(readings, _now_ms(), LONGEST_WINDOW_S)):
            typer.secho(warning, fg="yellow", err=True)
        _set_limits(api_url, unit, high_c, low_c, max(900, reach_s))
        stop.wait(SETTLE_S)
    with _producer() as producer:
        timed, starts_at_ms, pace_speed = timed_for(readings, chosen, now_ms=_now_ms(), speed=speed)
        paced = pace(as_emissions(unit, timed, batch), start_at_ms=starts_at_ms, stopped=stop.wait, speed=pace_speed)
        tally = play(producer, paced)
    typer.echo(f"{tally}; {len(readings)} readings in the file, sent as from {_span(timed)}; {bad} bad lines")
    raise typer.Exit(bool(bad or tally.failed))


def _span(readings: Sequence[Reading]) -> str:
    first, last = (datetime.fromtimestamp(r.at_ms / 1000, UTC).isoformat() for r in (readings[0], readings[-1]))
    return f"{first} to {last}"


def _set_limits(
    api_url: str,
    unit: str,
    high_c: float | None,
    low_c: float | None,
    live_window_s: int,
) -> None:
    from cli.api_client import ApiError, api_client
    from cli.seed.apply import sow_unit
    from cli.seed.seed_file import SeedError, unit_with_limits
    from schemas.identity import SEPARATOR, plain

    organization, _, _ = unit.partition(SEPARATOR)
    try:
        with api_client(api_url) as client:
            sow_unit(client, organization, unit_with_limits(plain(unit), high_c, low_c, live_window_s))
    except (ApiError, SeedError) as error:
        raise _fail(str(error)) from None


def _read(file: Path, form: Format) -> tuple[list[Reading], int]:
    """The usable readings by time, and how many lines were not."""
    from producers.replay import BadLine, ColumnError, in_order, read_csv

    good: list[Reading] = []
    bad = 0
    with file.open(newline="", encoding="utf-8-sig", errors="replace") as lines:
        try:
            for item in read_csv(lines, form, file=str(file)):
                if not isinstance(item, BadLine):
                    good.append(item)
                    continue
                bad += 1
                if bad <= SHOWN_BAD_LINES:
                    typer.secho(str(item), fg="yellow", err=True)
        except ColumnError as error:
            raise _fail(str(error)) from None
    if bad > SHOWN_BAD_LINES:
        typer.secho(f"... and {bad - SHOWN_BAD_LINES} more bad lines", fg="yellow", err=True)
    return in_order(good), bad


def _zone(name: str | None) -> ZoneInfo | None:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise _fail(f"--timezone {name!r} is not an IANA zone; write one like Europe/Berlin") from None


@contextmanager
def _producer() -> Iterator[ReadingsProducer]:
    """A producer as the environment says; what it raises ends the command with one sentence."""
    from broker.settings import KafkaSettings
    from producers.errors import BatchError, NotDeliveredError, QueueFullError
    from producers.kafka import ReadingsProducer

    settings = KafkaSettings()
    try:
        with ReadingsProducer({"log_level": 2, **settings.librdkafka()}, prefix=settings.topic_prefix) as producer:
            yield producer
    except (BatchError, NotDeliveredError, QueueFullError) as error:
        raise _fail(str(error)) from None


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _fail(message: str) -> typer.Exit:
    typer.secho(message, fg="red", err=True)
    return typer.Exit(1)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(rich_help_panel="Readings")(simulate)
    app.command(rich_help_panel="Readings")(replay)
