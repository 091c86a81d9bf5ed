"""Tables of readings against the alerts that they must make. Times are seconds after a fixed start."""

import pytest

from domain.detection.readings import Run, sort_records
from domain.detection.threshold import Evaluation, Tally, evaluate, unit_removed
from domain.detection.unit_state import UnitState, Watch
from schemas import messages as m
from tests.domain.detection.records import MAX_AGE_MS, START_MS, record, run_of

HIGH, LOW = m.Limit.HIGH, m.Limit.LOW
CRITICAL, WARNING, INFO = m.SEVERITIES


def rule(
    rule_id: str = "r",
    limit: m.Limit = HIGH,
    limit_c: float = 8.0,
    severity: m.Severity = CRITICAL,
    *,
    clear_c: float | None = None,
    confirm_s: int = 0,
    recover: int = 1,
) -> m.Rule:
    return m.Rule(
        rule_id=rule_id,
        limit=limit,
        severity=severity,
        limit_c=limit_c,
        clear_c=clear_c,
        confirm_s=confirm_s,
        recover_readings=recover,
    )


def watch(*rules: m.Rule, maintenance: tuple[tuple[int, int], ...] = (), live_window_s: int = 1_000_000) -> Watch:
    windows = tuple(m.MaintenanceWindow(START_MS + a * 1000, START_MS + b * 1000) for a, b in maintenance)
    return Watch.over(
        m.UnitConfig(
            unit_id="u",
            organization_id="org",
            name="Fridge",
            rules=rules,
            maintenance=windows,
            live_window_s=live_window_s,
        )
    )


def told(evaluation: Evaluation) -> list[str]:
    """Alerts in one line each: type, rule, seconds after the start, and what is special."""
    lines = []
    for alert in evaluation.alerts:
        second = (alert.at_ms - START_MS) // 1000
        match alert:
            case m.AlertTriggered(silent_because=None):
                lines.append(f"triggered {alert.rule_id} {second}")
            case m.AlertTriggered():
                lines.append(f"triggered {alert.rule_id} {second} silent: {alert.silent_because}")
            case m.SeverityRaised():
                lines.append(f"escalated {alert.rule_id} {second} {alert.former_severity} to {alert.severity}")
            case m.AlertResolved(because="recovered"):
                lines.append(f"resolved {alert.rule_id} {second}")
            case m.AlertResolved():
                lines.append(f"resolved {alert.rule_id} {second} {alert.because}")
    return lines


def go(
    on: Watch, *temperatures_c: float, now_s: int = 0, state: UnitState | None = None, start_s: int = 0
) -> Evaluation:
    """A reading a second, one record each."""
    state = state or UnitState()
    series = [(start_s + second, value) for second, value in enumerate(temperatures_c)]
    return evaluate(on, state, run_of(series, offset=state.applied_offset + 1), START_MS + now_s * 1000)


@pytest.mark.parametrize(
    ("on", "temperatures_c", "expected"),
    [
        # exactly at the limit is within it
        (rule(), [8.0, 8.0], []),
        (rule(), [5.0, 8.1, 8.0], ["triggered r 1", "resolved r 2"]),
        # a low limit mirrors a high one
        (rule(limit=LOW, limit_c=2.0), [2.0, 1.9, 1.0, 2.0], ["triggered r 1", "resolved r 3"]),
        # between the limit and the clear limit a breach goes on, but does not begin
        (rule(clear_c=6.0), [7.0, 9.0, 7.0, 6.5, 6.0], ["triggered r 1", "resolved r 4"]),
        (rule(limit=LOW, limit_c=2.0, clear_c=4.0), [3.0, 1.0, 3.0, 4.0], ["triggered r 1", "resolved r 3"]),
        # a clear limit outside the limit is the limit
        (rule(clear_c=20.0), [9.0, 9.0, 8.0], ["triggered r 0", "resolved r 2"]),
        # confirmed by a reading that is still above when the time is up
        (rule(confirm_s=2), [9.0, 9.0, 9.0, 9.0], ["triggered r 2"]),
        # one reading within the limit forgets a pending breach, hysteresis or not
        (rule(confirm_s=2, clear_c=5.0), [9.0, 9.0, 7.0, 9.0, 9.0, 9.0], ["triggered r 5"]),
        # readings in a row end it; one outside starts the count again
        (rule(recover=3), [9.0, 5.0, 5.0, 9.0, 5.0, 5.0, 5.0], ["triggered r 0", "resolved r 6"]),
        # in the band between the limits the count starts again too
        (rule(recover=2, clear_c=6.0), [9.0, 5.0, 7.0, 5.0, 5.0], ["triggered r 0", "resolved r 4"]),
        # a second breach is a second alert
        (rule(), [9.0, 5.0, 9.0], ["triggered r 0", "resolved r 1", "triggered r 2"]),
    ],
)
def test_one_rule(on: m.Rule, temperatures_c: list[float], expected: list[str]) -> None:
    assert told(go(watch(on), *temperatures_c)) == expected


def test_an_alert_tells_what_happened() -> None:
    first, last = go(watch(rule(confirm_s=1)), 8.5, 9.0, 12.0, 8.0).alerts
    assert isinstance(first, m.AlertTriggered)
    assert isinstance(last, m.AlertResolved)
    assert first.alert_id == last.alert_id
    assert (first.kind, first.severity, first.unit_id, first.organization_id) == (
        m.AlertKind.TEMPERATURE_HIGH,
        CRITICAL,
        "u",
        "org",
    )
    assert (first.started_at_ms, first.at_ms) == (START_MS, START_MS + 1000)
    assert (first.temperature_c, first.limit_c) == (9.0, 8.0)
    assert (last.temperature_c, last.extreme_c) == (8.0, 12.0)


def test_the_extreme_of_a_low_breach_is_the_coldest() -> None:
    alerts = go(watch(rule(limit=LOW, limit_c=2.0)), 1.0, -3.0, 0.0, 4.0).alerts
    assert isinstance(alerts[-1], m.AlertResolved)
    assert alerts[-1].extreme_c == -3.0
    assert alerts[-1].kind is m.AlertKind.TEMPERATURE_LOW


def test_two_breaches_of_two_rules_have_four_ids() -> None:
    alerts = go(watch(rule("a"), rule("b", limit_c=7.0)), 9.0, 5.0, 9.0).alerts
    assert len({alert.alert_id for alert in alerts}) == 4


WARM_AND_HOT = (rule("warm", limit_c=5.0, severity=WARNING), rule("hot", limit_c=8.0))


@pytest.mark.parametrize(
    ("temperatures_c", "expected"),
    [
        # both limits are passed at once: only the critical one pages
        ([9.0], ["triggered hot 0", "triggered warm 0 silent: inhibited by critical"]),
        # the critical one ends and the warning goes on: now it pages
        (
            [9.0, 6.0],
            [
                "triggered hot 0",
                "triggered warm 0 silent: inhibited by critical",
                "resolved hot 1",
                "escalated warm 1 warning to warning",
            ],
        ),
        # both end at once
        (
            [9.0, 4.0],
            ["triggered hot 0", "triggered warm 0 silent: inhibited by critical", "resolved hot 1", "resolved warm 1"],
        ),
        # a warning that paged before is not paged again
        (
            [6.0, 9.0, 6.0, 4.0],
            ["triggered warm 0", "triggered hot 1", "resolved hot 2", "resolved warm 3"],
        ),
    ],
)
def test_a_critical_alert_inhibits_a_warning(temperatures_c: list[float], expected: list[str]) -> None:
    assert told(go(watch(*WARM_AND_HOT), *temperatures_c)) == expected


def test_a_warning_inhibits_nothing() -> None:
    on = watch(rule("a", limit_c=5.0, severity=INFO), rule("b", limit_c=5.0, severity=WARNING))
    assert told(go(on, 6.0)) == ["triggered b 0", "triggered a 0"]


@pytest.mark.parametrize(
    ("temperatures_c", "expected"),
    [
        # begins and ends in the window 2..4
        ([5.0, 5.0, 9.0, 5.0], ["triggered r 2 silent: maintenance window", "resolved r 3"]),
        # goes on when the window ends: then it pages (the end itself is outside)
        ([5.0, 5.0, 9.0, 9.0, 9.0], ["triggered r 2 silent: maintenance window", "escalated r 4 critical to critical"]),
        # began before the window: paged already, and not again
        ([5.0, 9.0, 9.0, 9.0, 9.0], ["triggered r 1"]),
    ],
)
def test_maintenance_silences_paging_and_keeps_the_record(temperatures_c: list[float], expected: list[str]) -> None:
    assert told(go(watch(rule(), maintenance=((2, 4),)), *temperatures_c)) == expected


def test_what_is_older_than_the_live_window_is_recorded_and_never_pages() -> None:
    on = watch(rule(), live_window_s=10)
    assert told(go(on, 9.0, 5.0, now_s=100)) == ["triggered r 0 silent: older than the live window", "resolved r 1"]


def test_a_live_reading_that_finds_an_old_breach_makes_it_page() -> None:
    on = watch(rule(), live_window_s=10)
    evaluation = go(on, *[9.0] * 4, now_s=12)
    assert told(evaluation) == [
        "triggered r 0 silent: older than the live window",
        "escalated r 2 critical to critical",
    ]
    assert evaluation.tally == Tally(evaluated=4, late=2)


def test_a_repeated_reading_and_one_out_of_order_change_nothing() -> None:
    run = run_of([(0, 5.0), (2, 5.0), (2, 9.0), (1, 9.0), (3, 5.0)])
    evaluation = evaluate(watch(rule()), UnitState(), run, START_MS)
    assert told(evaluation) == []
    assert evaluation.tally == Tally(evaluated=3, repeated=1, out_of_order=1)
    again = evaluate(watch(rule()), evaluation.state, run_of([(2, 9.0), (3, 9.0)], offset=5), START_MS)
    assert told(again) == []
    assert again.tally == Tally(repeated=1, out_of_order=1)
    assert again.state.applied_offset == 6


def test_a_record_at_or_below_the_fence_changes_nothing() -> None:
    run = run_of([(0, 9.0), (1, 5.0)])
    evaluation = evaluate(watch(rule()), UnitState(), run, START_MS)
    again = evaluate(watch(rule()), evaluation.state, run, START_MS)
    assert again == Evaluation(evaluation.state, [], Tally(already_seen=2))


def test_the_part_of_a_run_behind_the_fence_counts() -> None:
    seen = evaluate(watch(rule()), UnitState(), run_of([(0, 5.0), (1, 9.0)]), START_MS).state
    whole = run_of([(0, 5.0), (1, 9.0), (2, 9.0), (3, 5.0)])
    evaluation = evaluate(watch(rule()), seen, whole, START_MS)
    assert told(evaluation) == ["resolved r 3"]
    assert evaluation.tally == Tally(evaluated=2, already_seen=2)


@pytest.mark.parametrize(
    ("new_rules", "then_c", "expected"),
    [
        # deleted
        ((), 9.0, ["resolved r 5 rule removed"]),
        # replaced by another, which judges for itself
        ((rule("other"),), 9.0, ["resolved r 5 rule removed", "triggered other 5"]),
        # turned round
        ((rule(limit=LOW, limit_c=2.0),), 9.0, ["resolved r 5 rule changed"]),
        # a new limit judges the open breach
        ((rule(limit_c=10.0, severity=WARNING),), 9.0, ["resolved r 5"]),
        ((rule(limit_c=3.0, severity=WARNING),), 9.0, []),
        # more severe is announced, less severe is not
        ((rule(severity=CRITICAL),), 9.0, ["escalated r 5 warning to critical"]),
        ((rule(severity=INFO),), 9.0, []),
    ],
)
def test_a_rule_that_changes_while_it_fires(new_rules: tuple[m.Rule, ...], then_c: float, expected: list[str]) -> None:
    state = go(watch(rule(severity=WARNING)), 9.0).state
    assert told(go(watch(*new_rules), then_c, state=state, start_s=5)) == expected


def test_a_pending_breach_of_a_removed_rule_was_never_told() -> None:
    state = go(watch(rule(confirm_s=60)), 9.0).state
    evaluation = go(watch(), 9.0, state=state, start_s=5)
    assert evaluation.alerts == []
    assert evaluation.state.breaches == ()


def test_the_alerts_of_a_removed_unit_end() -> None:
    state, alerts = unit_removed("u", go(watch(*WARM_AND_HOT), 9.0).state)
    assert [(alert.rule_id, alert.because) for alert in alerts if isinstance(alert, m.AlertResolved)] == [
        ("hot", "unit removed"),
        ("warm", "unit removed"),
    ]
    assert state.breaches == ()


def test_a_unit_without_rules_is_only_followed() -> None:
    evaluation = go(watch(), 9.0, -40.0)
    assert evaluation.alerts == []
    assert evaluation.state == UnitState(1, START_MS + 1000)


def test_of_rules_with_one_id_the_last_one_holds() -> None:
    assert told(go(watch(rule(limit_c=3.0), rule(limit_c=20.0)), 9.0)) == []


def test_a_gateway_batch_is_evaluated_reading_by_reading() -> None:
    records = [record("u", [(0, 5.0), (1, 9.0), (2, 5.0)])]
    run: Run = sort_records(records, START_MS, MAX_AGE_MS).runs[b"u"]
    assert told(evaluate(watch(rule()), UnitState(), run, START_MS)) == ["triggered r 1", "resolved r 2"]
