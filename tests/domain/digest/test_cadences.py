"""A new cadence is one declaration: its runs, its periods, its mail."""

from datetime import UTC, date, datetime

import msgspec
import pytest

from domain.digest.cadences import CADENCES, CadenceRules, Layout, months_before
from domain.digest.mails import view
from domain.digest.plan import Plan, due, ms, with_preference
from domain.digest.schedule import next_run, period_before, previous_period
from schemas.messages import Cadence, DigestPreference
from streams.digests.report.render import render
from tests.streams.digests.mail_samples import digest_of


def test_every_cadence_is_declared() -> None:
    assert set(CADENCES) == set(Cadence)


@pytest.fixture
def quarterly(monkeypatch: pytest.MonkeyPatch) -> Cadence:
    """A member that the enumeration does not have, and its entry."""
    member = str.__new__(Cadence, "quarterly")
    member._name_, member._value_ = "QUARTERLY", "quarterly"
    entry = CadenceRules(
        title="Quarterly Analytics",
        noun="quarter",
        usual_hour=8,
        layout=Layout.ANALYTICS,
        runs_on=lambda on: on.day == 1 and on.month % 3 == 1,
        first_before=lambda run_on: months_before(run_on, 3),
        name=lambda first, _: f"Quarter {first.month // 3 + 1} of {first.year}",
    )
    monkeypatch.setitem(CADENCES, member, entry)
    return member


def test_a_quarterly_digest_runs_and_covers_three_months(quarterly: Cadence) -> None:
    run = next_run(quarterly, "America/New_York", None, datetime(2026, 11, 24, tzinfo=UTC))
    assert run.at == datetime(2027, 1, 1, 13, tzinfo=UTC)
    assert (run.period.first, run.period.until) == (date(2026, 10, 1), date(2027, 1, 1))
    assert previous_period(run.period).first == date(2026, 7, 1)
    preference = DigestPreference(user_id="ann", organization_id="org", cadences=(quarterly,), timezone="UTC")
    plan = with_preference(Plan(), preference, 1, ms(datetime(2026, 11, 24, tzinfo=UTC)))
    found = due(plan, quarterly, ms(datetime(2027, 1, 1, 9, tzinfo=UTC)))
    assert found is not None
    assert found.period.first == date(2026, 10, 1)


def test_a_quarterly_digest_has_a_mail(quarterly: Cadence) -> None:
    period = period_before(quarterly, "UTC", date(2026, 10, 1))
    made = msgspec.structs.replace(digest_of(Cadence.MONTHLY), period=period)
    shown = view(made, "C")
    assert shown.subject == "Quarterly Analytics - Corner Store"
    assert shown.period == "Quarter 3 of 2026"
    assert shown.sections[0].title == "Compared with the quarter before"
    rendered = render(made, "C")
    assert "Quarter before" in rendered.text
    assert [one.file_name for one in rendered.enclosures] == ["days.png"]


@pytest.mark.parametrize(
    ("run_on", "months", "first"),
    [
        (date(2026, 3, 1), 1, date(2026, 2, 1)),
        (date(2026, 1, 1), 1, date(2025, 12, 1)),
        (date(2026, 1, 1), 3, date(2025, 10, 1)),
        (date(2026, 12, 1), 12, date(2025, 12, 1)),
    ],
)
def test_months_before(run_on: date, months: int, first: date) -> None:
    assert months_before(run_on, months) == first
