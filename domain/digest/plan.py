"""What is stored of a user's digests: the preference, since when each cadence counts, what was sent last.

A change takes effect at once. It never sends a period twice and never loses one: a user who moves the hour from 10 to 7
at eight o'clock gets today's digest now; one who moves it from 7 to 10 already has it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from domain.digest.schedule import Run, due_run, latest_run, next_run
from domain.identity import derived_id
from schemas.messages import Cadence, DigestPreference  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from domain.digest.schedule import Period


class Track(Struct, frozen=True, array_like=True):
    """One cadence: runs up to `since_ms` need no mail; `last_first` is the first date of what was sent last, or ""."""

    since_ms: int
    last_first: str = ""


class Plan(Struct, frozen=True, array_like=True):
    """One user. `version` counts the changes; `offset` is that of the newest preference contained."""

    version: int = 0
    offset: int = -1
    preference: DigestPreference | None = None
    tracks: dict[Cadence, Track] = {}


def cadences(preference: DigestPreference | None) -> tuple[Cadence, ...]:
    """Those that are sent: none without a preference or while it is paused."""
    return () if preference is None or preference.paused else preference.cadences


def hour_of(preference: DigestPreference, cadence: Cadence) -> int | None:
    """The local hour of a cadence; null for its usual one."""
    return preference.hours.get(cadence, preference.hour)


def units_of(preference: DigestPreference | None, cadence: Cadence) -> tuple[str, ...]:
    """The units that a cadence is limited to, sorted; empty for all units."""
    return () if preference is None else tuple(sorted(set(preference.units.get(cadence, ()))))


def with_preference(plan: Plan, preference: DigestPreference | None, offset: int, at_ms: int) -> Plan:
    """The plan after a change at `at_ms` (null: deleted). A cadence that begins or resumes counts from then."""
    tracks = dict(plan.tracks)
    for cadence in set(cadences(preference)) - set(cadences(plan.preference)):
        last_first = tracks[cadence].last_first if cadence in tracks else ""
        tracks[cadence] = Track(at_ms, last_first)
    return Plan(plan.version + 1, offset, preference, tracks)


def due(plan: Plan, cadence: Cadence, now_ms: int) -> Run | None:
    """What must be sent now: the newest past run whose period was not sent yet, or null.

    Raises ScheduleError for a timezone that is unknown here.
    """
    preference = plan.preference
    if preference is None or cadence not in cadences(preference):
        return None
    track = plan.tracks[cadence]
    run = due_run(cadence, preference.timezone, hour_of(preference, cadence), _at(track.since_ms), _at(now_ms))
    return run if run is not None and run.period.first.isoformat() > track.last_first else None


def look_again_at_ms(plan: Plan, cadence: Cadence, now_ms: int) -> int | None:
    """When the cadence is next due: now if something is, null if it is not sent at all."""
    preference = plan.preference
    if preference is None or cadence not in cadences(preference):
        return None
    if due(plan, cadence, now_ms) is not None:
        return now_ms
    return ms(next_run(cadence, preference.timezone, hour_of(preference, cadence), _at(now_ms)).at)


def with_sent(plan: Plan, run: Run) -> Plan:
    """The plan once the run's digest is on its way."""
    tracks = {**plan.tracks, run.period.cadence: Track(ms(run.at), run.period.first.isoformat())}
    return structs.replace(plan, version=plan.version + 1, tracks=tracks)


def newest_period(cadence: Cadence, timezone: str, now_ms: int) -> Period:
    """The newest completed period, whatever the hour at which it is usually sent."""
    return latest_run(cadence, timezone, 0, _at(now_ms)).period


def asked_for_id(command_id: str) -> str:
    """The id of a digest that a person asked for; each request has its own."""
    return derived_id("digest asked for", command_id)


def ms(at: datetime) -> int:
    return int(at.timestamp()) * 1000


def _at(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
