import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.notification.replies import ack_code
from domain.notification.sms_segments import TWO_UNITS, is_gsm7, segments
from domain.notification.sms_text import (
    Line,
    at_time,
    breach_text,
    combined_text,
    label,
    plain,
    resolved_text,
    shortened,
    temperature,
)
from schemas import messages as m

CODE = ack_code("a-1", "u-1")

TRIGGERED = m.AlertTriggered(
    alert_id="a-1",
    unit_id="freezer-2",
    organization_id="org-1",
    rule_id="r-1",
    kind=m.AlertKind.TEMPERATURE_HIGH,
    severity=m.Severity.CRITICAL,
    started_at_ms=0,
    at_ms=600_000,
    temperature_c=8.5,
    limit_c=5.0,
)
UNIT = m.UnitConfig(
    unit_id="freezer-2", organization_id="org-1", organization_name="Acme Foods", name="Walk-in 2", display_unit="F"
)
replaced = msgspec.structs.replace

names = st.text(max_size=300) | st.text("ab [é°", min_size=70, max_size=300)
temperatures = st.none() | st.floats(-300, 2000)


def test_a_breach_says_where_how_warm_for_how_long_and_how_to_answer() -> None:
    assert breach_text(TRIGGERED, UNIT, "u-1") == (
        f"CRITICAL Acme Foods: Walk-in 2 at 47.3 F, above 41.0 F for 10 min. Reply ACK {CODE}"
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        # too cold
        (
            {"kind": m.AlertKind.TEMPERATURE_LOW, "temperature_c": -3.0, "limit_c": 1.0},
            "Walk-in 2 at 26.6 F, below 33.8 F for 10 min.",
        ),
        # just begun: no duration
        ({"at_ms": 59_999}, "Walk-in 2 at 47.3 F, above 41.0 F."),
        # the limit or the temperature is not known
        ({"limit_c": None}, "Walk-in 2 at 47.3 F, above its limit for 10 min."),
        ({"temperature_c": None}, "Walk-in 2 is above 41.0 F for 10 min."),
        # hardly above: as many decimals as show the difference
        ({"temperature_c": 5.01, "at_ms": 0}, "Walk-in 2 at 41.02 F, above 41.00 F."),
        # silence
        ({"kind": m.AlertKind.SENSOR_OFFLINE, "at_ms": 7_200_000}, "Walk-in 2 sends no readings for 2 h."),
        (
            {"kind": m.AlertKind.GATEWAY_OFFLINE, "at_ms": 172_800_000},
            "Walk-in 2 and all units of its gateway: no readings for 2 d.",
        ),
    ],
)
def test_what_a_breach_says_of_its_kind(changes: dict[str, object], text: str) -> None:
    alert = replaced(TRIGGERED, **changes)
    assert breach_text(alert, UNIT, "u-1") == f"CRITICAL Acme Foods: {text} Reply ACK {CODE}"


def test_a_reminder_says_its_level_and_keeps_the_code() -> None:
    assert breach_text(TRIGGERED, UNIT, "u-1", level=2).startswith("REMINDER 2 CRITICAL Acme Foods: Walk-in 2 at")
    assert breach_text(TRIGGERED, UNIT, "u-1", level=2).endswith(f"ACK {CODE}")


def test_a_risen_severity_says_so() -> None:
    risen = m.SeverityRaised(
        **{f: getattr(TRIGGERED, f) for f in m.AlertEvent.__struct_fields__}, former_severity=m.Severity.WARNING
    )
    assert breach_text(risen, UNIT, "u-1").startswith("NOW CRITICAL Acme Foods: Walk-in 2")


def test_a_resolved_breach_says_how_bad_it_was() -> None:
    resolved = m.AlertResolved(
        **{f: getattr(TRIGGERED, f) for f in m.AlertEvent.__struct_fields__ if f != "temperature_c"},
        temperature_c=4.0,
        extreme_c=9.0,
    )
    assert resolved_text(resolved, UNIT) == (
        "RESOLVED Acme Foods: Walk-in 2 is back in range at 39.2 F after 10 min, worst 48.2 F."
    )


def test_a_unit_without_configuration_is_called_by_its_id_in_celsius() -> None:
    assert breach_text(TRIGGERED, None, "u-1") == (
        f"CRITICAL: freezer-2 at 8.5 C, above 5.0 C for 10 min. Reply ACK {CODE}"
    )


def test_long_names_fill_the_part_to_its_last_character() -> None:
    unit = replaced(UNIT, name="Freezer" * 40, organization_name="Acme" * 40)
    text = breach_text(TRIGGERED, unit, "u-1")
    assert len(text) == 160
    assert text.startswith("CRITICAL AcmeAcmeAcmeAc..: FreezerFreezer")


def test_a_long_unit_name_never_pushes_out_the_organization() -> None:
    text = breach_text(TRIGGERED, replaced(UNIT, name="n" * 300), "u-1")
    assert text.startswith("CRITICAL Acme Foods: nnn")
    assert len(text) == 160


def test_a_short_unit_name_leaves_its_organization_more_room() -> None:
    text = breach_text(TRIGGERED, replaced(UNIT, organization_name="Very Long Name Of An Organization"), "u-1")
    assert text.startswith("CRITICAL Very Long Name Of An O..: Walk-in 2")


@pytest.mark.parametrize(
    ("celsius", "display_unit", "shown"),
    [
        (-18.0, "C", "-18.0 C"),
        (-18.0, "F", "-0.4 F"),
        (0.0, "F", "32.0 F"),
        # never "-0.0"
        (-0.04, "C", "0.0 C"),
        # a tenth is what a sensor is good for
        (5.06, "C", "5.1 C"),
    ],
)
def test_how_a_temperature_reads(celsius: float, display_unit: str, shown: str) -> None:
    assert temperature(celsius, display_unit) == shown


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("Walk-in 2", "Walk-in 2"),
        # letters of the alphabet stay
        ("Kühlhaus Süd", "Kühlhaus Süd"),
        # ... also when they come in two pieces
        ("Ku\N{COMBINING DIAERESIS}hlhaus", "Kühlhaus"),
        # letters that are not in it lose their marks
        ("Frigorífico São João", "Frigorifico Sao Joao"),
        # other scripts
        ("Холодильник 3", "Kholodil'nik 3"),
        ("冷凍庫", "LengDongKu"),
        # a second line, a bell, a direction mark
        ("Line one\r\nline two\a", "Line one line two"),
        ("abc\N{RIGHT-TO-LEFT OVERRIDE}def", "abcdef"),
        # typographer's marks
        (
            "\N{LEFT DOUBLE QUOTATION MARK}A\N{RIGHT DOUBLE QUOTATION MARK} \N{EN DASH} B\N{HORIZONTAL ELLIPSIS}",
            '"A" - B...',
        ),
        # what costs two units
        ("[A] {B} ~C|D\\E^", "(A) (B) -C/D/E"),
        ("2 \N{DEGREE SIGN}C, 5 \N{EURO SIGN}", "2 C, 5 EUR"),
        ("\N{ZERO WIDTH JOINER}\t ", ""),
    ],
)
def test_how_a_name_is_cleaned(name: str, cleaned: str) -> None:
    assert plain(name) == cleaned


@settings(deadline=None)
@given(names)
def test_a_cleaned_name_is_one_line_of_single_units(name: str) -> None:
    cleaned = plain(name)
    assert is_gsm7(cleaned)
    assert not TWO_UNITS & set(cleaned)
    assert cleaned.isprintable()
    assert plain(cleaned) == cleaned


@given(names, st.integers(0, 200))
def test_a_shortened_name_is_short_and_begins_as_before(name: str, longest: int) -> None:
    short = shortened(name, longest)
    assert len(short) <= longest
    assert short == name or name.startswith(short.rstrip("."))


@settings(deadline=None)
@given(
    name=names,
    organization=names,
    kind=st.sampled_from(m.AlertKind),
    severity=st.sampled_from(m.SEVERITIES),
    temperature_c=temperatures,
    limit_c=temperatures,
    lasted_ms=st.integers(-1000, 10**11),
    display_unit=st.sampled_from("CF"),
    level=st.integers(1, 99),
)
def test_every_text_is_one_part_of_gsm7(
    name: str,
    organization: str,
    kind: m.AlertKind,
    severity: m.Severity,
    temperature_c: float | None,
    limit_c: float | None,
    lasted_ms: int,
    display_unit: str,
    level: int,
) -> None:
    alert = replaced(
        TRIGGERED, kind=kind, severity=severity, temperature_c=temperature_c, limit_c=limit_c, at_ms=lasted_ms
    )
    unit = replaced(UNIT, name=name, organization_name=organization, display_unit=display_unit)
    text = breach_text(alert, unit, "u-1", level=level)
    assert is_gsm7(text)
    assert segments(text).parts == 1
    assert text.endswith(f"Reply ACK {CODE}")


@settings(deadline=None)
@given(name=names, organization=names, temperature_c=temperatures, extreme_c=temperatures)
def test_every_text_of_an_end_is_one_part_too(
    name: str, organization: str, temperature_c: float | None, extreme_c: float | None
) -> None:
    resolved = m.AlertResolved(
        **{f: getattr(TRIGGERED, f) for f in m.AlertEvent.__struct_fields__ if f != "temperature_c"},
        temperature_c=temperature_c,
        extreme_c=extreme_c,
    )
    text = resolved_text(resolved, replaced(UNIT, name=name, organization_name=organization))
    assert is_gsm7(text)
    assert segments(text).parts == 1


def test_one_sms_names_several_alerts_each_with_its_code() -> None:
    lines = [Line("Vaccines 9.1 C", "4821", over=False), Line("Milk 8.4 C", "5533", over=True)]
    assert (
        combined_text(m.Severity.CRITICAL, lines) == "CRITICAL, 2 alerts: Vaccines 9.1 C (ACK 4821), Milk 8.4 C (over)"
    )


def test_a_hundred_alerts_fit_in_the_longest_sms_and_the_rest_is_counted() -> None:
    text = combined_text(m.Severity.WARNING, [Line("x" * 30, "4821", over=False)] * 100)
    assert len(text) <= 1_600
    named = text.count("ACK 4821")
    assert named > 30
    assert text.endswith(f" and {100 - named} more")


def test_a_label_names_the_unit_and_what_it_showed() -> None:
    assert label(TRIGGERED, UNIT).startswith(plain(UNIT.name)[:8])
    assert label(msgspec.structs.replace(TRIGGERED, kind=m.AlertKind.SENSOR_OFFLINE), UNIT).endswith(" no readings")


def test_a_late_text_says_when_it_was() -> None:
    at_ms = 1_795_000_000_000 // 86_400_000 * 86_400_000 + (2 * 60 + 14) * 60_000
    assert at_time("CRITICAL: fridge. Reply ACK 4821", at_ms) == "CRITICAL: fridge. (at 02:14 UTC) Reply ACK 4821"
    assert at_time("CRITICAL: fridge.", at_ms) == "CRITICAL: fridge. (at 02:14 UTC)"
