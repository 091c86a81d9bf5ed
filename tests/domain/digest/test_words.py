"""Numbers and times in words."""

import msgspec
import pytest

from domain.digest import words
from domain.digest.mails import view
from domain.digest.schedule import Period, period_before
from schemas import messages as m
from tests.streams.digests.mail_samples import digest_of, period


def plain(text: str) -> str:
    return text.replace(words.NBSP, " ")


@pytest.mark.parametrize(
    ("celsius", "display_unit", "shown"),
    [
        (4.04, "C", "4.0 °C"),
        (4.0, "F", "39.2 °F"),
        (-0.04, "C", "0.0 °C"),
        (-18.0, "F", "-0.4 °F"),
        (None, "C", words.NOTHING),
    ],
)
def test_temperatures(celsius: float | None, display_unit: str, shown: str) -> None:
    assert plain(words.temperature(celsius, display_unit)) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "none"),
        (0.4, "none"),
        (59, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (719, "12 min"),
        (3_600, "1 h"),
        (3_900, "1 h 05 min"),
        (169_200, "47 h"),
        (172_800, "2 d"),
        (183_600, "2 d 3 h"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert plain(words.duration(round(seconds * 1000))) == shown


@pytest.mark.parametrize(
    ("part", "shown"), [(1.0, "100 %"), (0.99999, "99.9 %"), (0.5, "50 %"), (0.0, "0 %"), (0.29, "29 %")]
)
def test_what_is_not_whole_is_not_called_a_hundred_percent(part: float, shown: str) -> None:
    assert plain(words.percent(part)) == shown


@pytest.mark.parametrize(
    ("cadence", "name"),
    [
        (m.Cadence.DAILY, "Sunday, 1 November 2026"),
        (m.Cadence.WEEKLY, "2 November to 8 November 2026"),
        (m.Cadence.MONTHLY, "October 2026"),
    ],
)
def test_periods(cadence: m.Cadence, name: str) -> None:
    assert words.period_name(period(cadence)) == name


def test_a_day_of_another_length_is_pointed_out() -> None:
    assert words.clock_change(period(m.Cadence.DAILY)) == "The clocks changed: this day had 25 hours."
    assert words.clock_change(period_before(m.Cadence.DAILY, "UTC", period(m.Cadence.DAILY).until)) is None


def test_times_are_local_and_the_date_stands_once() -> None:
    begin = period(m.Cadence.DAILY).starts_at_ms + 8 * 3_600_000
    # one o'clock came twice on this day
    assert words.stretch(begin, begin + 600_000, "America/New_York") == "Sun 1 Nov, 07:00–07:10"  # noqa: RUF001
    across = words.stretch(begin, begin + 86_400_000, "America/New_York")
    assert across == "Sun 1 Nov, 07:00 – Mon 2 Nov, 07:00"  # noqa: RUF001


@pytest.mark.parametrize("cadence", list(m.Cadence))
def test_a_digest_can_be_kept_and_read_again(cadence: m.Cadence) -> None:
    made = digest_of(cadence)
    assert msgspec.json.decode(msgspec.json.encode(made), type=type(made)) == made
    headline = msgspec.json.decode(msgspec.json.encode(made.numbers))
    assert sorted(headline) == ["criticalAlerts", "totalAlerts", "totalReadings", "unitsMonitored"]


def test_a_period_can_be_kept_and_read_again() -> None:
    one = period(m.Cadence.WEEKLY)
    assert msgspec.json.decode(msgspec.json.encode(one), type=Period) == one


def test_data_that_did_not_come_in_time_is_admitted() -> None:
    late = msgspec.structs.replace(digest_of(m.Cadence.DAILY), complete=False, waited_ms=600_000)
    assert any("after a wait of 10 min" in plain(note) for note in view(late, "C").notes)


def test_an_organization_without_units_gets_a_mail_that_says_so() -> None:
    shown = view(digest_of(m.Cadence.DAILY, units=0), "C")
    assert shown.verdict == "No units."
    assert view(digest_of(m.Cadence.WEEKLY, units=0), "C").verdict == "Of 0 units: none."


def test_the_month_is_compared_with_the_one_before() -> None:
    trend = view(digest_of(m.Cadence.MONTHLY), "C").sections[0].table
    assert trend is not None
    cells = {row.cells[0]: row.cells[1:] for row in trend.rows}
    assert cells["SMS suppressed by the rate limit"] == ("7", "0", "new")
    assert cells["Alerts: critical"] == ("1", "0", "new")
    assert cells["Alerts: info"] == ("0", "0", "the same")
