"""What each cadence means. A new one takes a member of `schemas.messages.Cadence` and one entry in `CADENCES`."""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 - msgspec reads the annotations
from datetime import date, timedelta
from enum import StrEnum

from msgspec import Struct

from schemas.messages import Cadence

ONE_DAY = timedelta(days=1)
MONDAY = 1


class Layout(StrEnum):
    """Which sections and files a mail has."""

    OVERVIEW = "overview"
    """Units by how they did, with charts of the worst."""
    COMPLIANCE = "compliance"
    """A verdict for each unit, and a PDF to sign."""
    ANALYTICS = "analytics"
    """Compared with the period before, day by day, and the worst units."""


class CadenceRules(Struct, frozen=True, kw_only=True):
    """When a cadence runs, which dates it covers, and what its mail looks like.

    `first_before` gives the first date of the period that ends when a run date begins; `name` names a period by its
    first and last date; `noun` is what people call its length.
    """

    title: str
    noun: str
    usual_hour: int
    layout: Layout
    runs_on: Callable[[date], bool]
    first_before: Callable[[date], date]
    name: Callable[[date, date], str]


def months_before(run_on: date, months: int) -> date:
    """The first day of the month that lies `months` before that of `run_on`."""
    index = run_on.year * 12 + run_on.month - 1 - months
    return date(index // 12, index % 12 + 1, 1)


def _dates(first: date, last: date) -> str:
    begin = f"{first:%-d %B}" if first.year == last.year else f"{first:%-d %B %Y}"
    return f"{begin} to {last:%-d %B %Y}"


CADENCES = {
    Cadence.DAILY: CadenceRules(
        title="Daily Temperature Summary",
        noun="day",
        usual_hour=7,
        layout=Layout.OVERVIEW,
        runs_on=lambda _: True,
        first_before=lambda run_on: run_on - ONE_DAY,
        name=lambda first, _: f"{first:%A, %-d %B %Y}",
    ),
    Cadence.WEEKLY: CadenceRules(
        title="Weekly Compliance Report",
        noun="week",
        usual_hour=9,
        layout=Layout.COMPLIANCE,
        runs_on=lambda on: on.isoweekday() == MONDAY,
        first_before=lambda run_on: run_on - 7 * ONE_DAY,
        name=_dates,
    ),
    Cadence.MONTHLY: CadenceRules(
        title="Monthly Analytics",
        noun="month",
        usual_hour=8,
        layout=Layout.ANALYTICS,
        runs_on=lambda on: on.day == 1,
        first_before=lambda run_on: months_before(run_on, 1),
        name=lambda first, _: f"{first:%B %Y}",
    ),
}
