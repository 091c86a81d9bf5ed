"""The state machine, fed piece by piece, against a reference that looks at a whole series at once."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.detection.readings import sort_records
from domain.detection.threshold import Evaluation, Tally, evaluate, settled
from domain.detection.unit_state import UnitState, Watch
from schemas import messages as m
from tests.domain.detection.records import MAX_AGE_MS, START_MS, Raw, record

Series = list[tuple[int, float]]
TEMPERATURES = st.integers(-4, 12).map(lambda half: half / 2)


class Episode(NamedTuple):
    """Indexes into the series: the first reading of a breach, the one that confirmed it, the one that ended it."""

    start: int
    fired: int
    end: int | None


def episodes_at_once(series: Series, rule: m.Rule) -> list[Episode]:
    """The alerts of one rule, from the definition: look for the first spot where each condition holds."""

    def outside(c: float, limit_c: float) -> bool:
        return c > limit_c if rule.limit is m.Limit.HIGH else c < limit_c

    clear_c = rule.limit_c if rule.clear_c is None or outside(rule.clear_c, rule.limit_c) else rule.clear_c
    over = [outside(c, rule.limit_c) for _, c in series]
    calm = [not outside(c, clear_c) for _, c in series]
    found: list[Episode] = []
    n, at = rule.recover_readings, 0
    while True:
        start = next((i for i in range(at, len(series)) if over[i]), None)
        if start is None:
            return found
        stop = next((i for i in range(start, len(series)) if not over[i]), len(series))
        due_s = series[start][0] + rule.confirm_s
        fired = next((i for i in range(start, stop) if series[i][0] >= due_s), None)
        if fired is None:
            at = stop
            continue
        end = next((i for i in range(fired + n, len(series)) if all(calm[i - n + 1 : i + 1])), None)
        found.append(Episode(start, fired, end))
        if end is None:
            return found
        at = end + 1


def paging_at_once(series: Series, rules: list[m.Rule], windows: list[tuple[int, int]], live_from_s: int) -> set[str]:
    """`rule start page` for each alert and the reading with which it begins to page."""
    episodes = {rule.rule_id: episodes_at_once(series, rule) for rule in rules}
    severe = [episode for rule in rules if rule.severity is CRITICAL for episode in episodes[rule.rule_id]]
    critical = [any(e.fired <= i and (e.end is None or i < e.end) for e in severe) for i in range(len(series))]
    pages = set()
    for rule in rules:
        sign = 1 if rule.limit is m.Limit.HIGH else -1
        clear_c = rule.limit_c if rule.clear_c is None else sign * min(sign * rule.limit_c, sign * rule.clear_c)
        for episode in episodes[rule.rule_id]:
            for i in range(episode.fired, len(series) if episode.end is None else episode.end):
                at_s, c = series[i]
                silent = (
                    any(begin <= at_s < end for begin, end in windows)
                    or (critical[i] and rule.severity is not CRITICAL)
                    or at_s < live_from_s
                )
                if not silent and sign * c > sign * clear_c:
                    pages.add(f"{rule.rule_id} {series[episode.start][0]} {at_s}")
                    break
    return pages


CRITICAL = m.Severity.CRITICAL


@st.composite
def series_of_readings(draw: st.DrawFn) -> Series:
    steps = draw(st.lists(st.tuples(st.integers(1, 4), TEMPERATURES), max_size=40))
    at_s, series = 0, []
    for step, c in steps:
        at_s += step
        series.append((at_s, c))
    return series


def rules(rule_id: str) -> st.SearchStrategy[m.Rule]:
    return st.builds(
        m.Rule,
        rule_id=st.just(rule_id),
        limit=st.sampled_from(m.Limit),
        severity=st.sampled_from(m.SEVERITIES),
        limit_c=TEMPERATURES,
        clear_c=st.none() | TEMPERATURES,
        confirm_s=st.sampled_from([0, 0, 1, 3, 7]),
        recover_readings=st.integers(1, 4),
    )


SOME_RULES = st.tuples(rules("a"), rules("b"), rules("c"))


def watch(*of: m.Rule, windows: list[tuple[int, int]], live_window_s: int = 10**9) -> Watch:
    maintenance = tuple(m.MaintenanceWindow(START_MS + a * 1000, START_MS + b * 1000) for a, b in windows)
    config = m.UnitConfig(
        unit_id="u", organization_id="o", name="U", rules=of, maintenance=maintenance, live_window_s=live_window_s
    )
    return Watch.over(config)


def records_of(data: st.DataObject, series: Series) -> list[Raw]:
    """The series as records of 1..n readings, some readings sent again and some old ones mixed in."""
    records: list[Raw] = []
    left = list(series)
    while left:
        size = data.draw(st.integers(1, 6))
        part, left = left[:size], left[size:]
        for _ in range(data.draw(st.sampled_from([0, 0, 0, 1, 2]))):
            old = data.draw(st.sampled_from(part)) if part else None
            if old is not None:
                position = next(i for i, reading in enumerate(part) if reading[0] >= old[0])
                part.insert(data.draw(st.integers(position + 1, len(part))), (old[0], data.draw(TEMPERATURES)))
        records.append(record("u", part, offset=len(records) * 2))
    return records


def fed(data: st.DataObject, on: Watch, records: list[Raw], now_s: int = 0) -> list[m.Alert]:
    """All alerts, with the records cut into batches anywhere, and some batches read again."""
    state, alerts, at = UnitState(), [], 0
    while at < len(records):
        again = data.draw(st.integers(0, min(at, 3)))
        size = data.draw(st.integers(1, 5))
        found = sort_records(records[at - again : at + size], START_MS + 10**9, MAX_AGE_MS)
        assert not found.refusals
        evaluation = evaluate(on, state, found.runs[b"u"], START_MS + now_s * 1000)
        state = evaluation.state
        alerts += evaluation.alerts
        at += size
    return alerts


def second(at_ms: int) -> int:
    return (at_ms - START_MS) // 1000


@settings(max_examples=400, deadline=None)
@given(series_of_readings(), SOME_RULES, st.data())
def test_alerts_begin_and_end_where_the_whole_series_says(
    series: Series, some: tuple[m.Rule, ...], data: st.DataObject
) -> None:
    alerts = fed(data, watch(*some, windows=[]), records_of(data, series))
    for rule in some:
        of_rule = [alert for alert in alerts if alert.rule_id == rule.rule_id]
        began = [alert for alert in of_rule if isinstance(alert, m.AlertTriggered)]
        ended = {alert.alert_id: second(alert.at_ms) for alert in of_rule if isinstance(alert, m.AlertResolved)}
        expected = episodes_at_once(series, rule)
        assert [
            (second(alert.started_at_ms), second(alert.at_ms), ended.pop(alert.alert_id, None)) for alert in began
        ] == [(series[e.start][0], series[e.fired][0], None if e.end is None else series[e.end][0]) for e in expected]
        assert not ended


@settings(max_examples=400, deadline=None)
@given(
    series_of_readings(),
    SOME_RULES,
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=3),
    st.integers(-5, 100),
    st.data(),
)
def test_alerts_page_with_the_first_reading_that_nothing_silences(
    series: Series, some: tuple[m.Rule, ...], spans: list[tuple[int, int]], now_s: int, data: st.DataObject
) -> None:
    windows = [(begin, begin + length) for begin, length in spans]
    on = watch(*some, windows=windows, live_window_s=20)
    alerts = fed(data, on, records_of(data, series), now_s)
    paged = [
        f"{alert.rule_id} {second(alert.started_at_ms)} {second(alert.at_ms)}"
        for alert in alerts
        if isinstance(alert, m.SeverityRaised) or (isinstance(alert, m.AlertTriggered) and alert.paging)
    ]
    assert len(paged) == len(set(paged))
    assert set(paged) == paging_at_once(series, list(some), windows, now_s - 20)


@settings(max_examples=200, deadline=None)
@given(series_of_readings(), SOME_RULES, st.data())
def test_a_rerun_makes_the_same_alerts_whatever_the_batches(
    series: Series, some: tuple[m.Rule, ...], data: st.DataObject
) -> None:
    records = records_of(data, series)
    on = watch(*some, windows=[])
    assert fed(data, on, records) == fed(data, on, records)


@settings(max_examples=200, deadline=None)
@given(series_of_readings(), SOME_RULES, st.integers(-5, 100), st.data())
def test_a_run_that_settles_would_only_have_been_counted(
    series: Series, some: tuple[m.Rule, ...], now_s: int, data: st.DataObject
) -> None:
    on = watch(*some, windows=[], live_window_s=20)
    state, now_ms = UnitState(), START_MS + now_s * 1000
    for part in records_of(data, series):
        run = sort_records([part], START_MS + 10**9, MAX_AGE_MS).runs[b"u"]
        after = settled(on, state, run, now_ms)
        evaluation = evaluate(on, state, run, now_ms)
        assert after is None or evaluation == Evaluation(after, [], Tally(evaluated=len(run.times)))
        state = evaluation.state
