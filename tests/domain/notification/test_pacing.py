import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.notification.pacing import (
    JITTER_MS,
    WINDOW_MS,
    Pacer,
    Shares,
    concurrency,
    partition_share,
    share,
    spacing_ms,
)


@given(st.data(), st.integers(1, 64))
def test_the_shares_of_all_partitions_add_up_to_the_limit(data: st.DataObject, partitions: int) -> None:
    limit = data.draw(st.integers(partitions, 10_000))
    shares = [partition_share(limit, partitions, p) for p in range(partitions)]
    assert sum(shares) == limit
    assert max(shares) - min(shares) <= 1


def test_a_limit_below_the_number_of_partitions_is_refused() -> None:
    with pytest.raises(ValueError, match="a global limit of 3 cannot be shared by 4 partitions"):
        partition_share(3, 4, 0)


def test_a_partition_that_changes_hands_takes_its_share_along_after_a_window() -> None:
    first = Shares(4).reassigned([0, 1, 2, 3], 0.0)
    assert first.of(100, 1049.0) == 0
    assert first.of(100, 1050.0) == 100
    kept = first.reassigned([0, 1], 5000.0)
    gained = Shares(4).reassigned([2, 3], 5000.0)
    # what is given up counts at once, what is gained after a window
    assert (kept.of(100, 5000.0), gained.of(100, 5000.0)) == (50, 0)
    assert (kept.of(100, 6050.0), gained.of(100, 6050.0)) == (50, 50)


def test_partitions_that_stay_through_a_rebalance_go_on_at_once() -> None:
    shares = Shares(4).reassigned([0, 1], 0.0).reassigned([0, 1, 2], 9000.0)
    assert shares.of(100, 9000.0) == 50


def test_a_worker_has_no_more_in_flight_than_its_own_limit_and_its_share_of_the_cap() -> None:
    all_of_it = Shares(4).reassigned([0, 1, 2, 3], 0.0)
    assert concurrency(all_of_it, global_cap=20, per_worker=10, now_ms=2000.0) == 10
    assert concurrency(Shares(4).reassigned([0], 0.0), global_cap=20, per_worker=10, now_ms=2000.0) == 5


def test_a_lone_message_does_not_wait() -> None:
    assert Pacer().wait_ms(100, 0.0) == 0.0
    assert Pacer().left(0.0).wait_ms(100, 60_000.0) == 0.0


def test_the_second_message_waits_for_the_spacing_and_no_burst_is_saved_up() -> None:
    pacer = Pacer().left(10_000.0)
    assert pacer.wait_ms(100, 10_000.0) == spacing_ms(100) == pytest.approx(10.5)
    assert pacer.wait_ms(100, 10_004.0) == pytest.approx(6.5)


def test_without_a_share_there_is_no_time_to_wait_for() -> None:
    assert Pacer().wait_ms(0, 0.0) is None


def busiest_second(times_ms: list[float]) -> int:
    times_ms = sorted(times_ms)
    return max((sum(begin <= t < begin + WINDOW_MS for t in times_ms) for begin in times_ms), default=0)


def departures(shares: Shares, pacer: Pacer, limit: int, begin_ms: float, end_ms: float) -> list[float]:
    """When the messages of a worker leave that always has one more to send."""
    left_ms: list[float] = []
    t_ms = begin_ms
    while t_ms < end_ms:
        wait_ms = pacer.wait_ms(shares.of(limit, t_ms), t_ms)
        if wait_ms == 0:
            left_ms.append(t_ms)
            pacer = pacer.left(t_ms)
            continue
        grows_at_ms = min((at_ms for at_ms in shares.usable_from_ms.values() if at_ms > t_ms), default=None)
        steps = [grows_at_ms, None if wait_ms is None else t_ms + wait_ms]
        t_ms = max(min((step for step in steps if step is not None), default=end_ms), t_ms + 1e-6)
    return left_ms


@settings(deadline=None)
@given(
    limit=st.integers(4, 60),
    owners=st.lists(st.lists(st.sampled_from("ab"), min_size=4, max_size=4), min_size=1, max_size=4),
    holds_ms=st.lists(st.floats(0, 3000), min_size=4, max_size=4),
    delays=st.lists(st.floats(0, JITTER_MS), min_size=1, max_size=50),
)
def test_no_second_holds_more_than_the_limit_with_two_workers_through_rebalances(
    limit: int, owners: list[list[str]], holds_ms: list[float], delays: list[float]
) -> None:
    """Both workers always have something to send; each message takes 0 to 50 ms to the provider."""
    now_ms = 0.0
    arrived_ms: list[float] = []
    workers = {name: (Shares(4), Pacer()) for name in "ab"}
    for owner_of, hold_ms in zip(owners, holds_ms, strict=False):
        end_ms = now_ms + hold_ms
        for name, (shares, pacer) in workers.items():
            mine = [p for p, owner in enumerate(owner_of) if owner == name]
            ours = shares.reassigned(mine, now_ms)
            left_ms = departures(ours, pacer, limit, now_ms, end_ms)
            workers[name] = ours, pacer.left(left_ms[-1]) if left_ms else pacer
            arrived_ms += [t + delays[i % len(delays)] for i, t in enumerate(left_ms)]
        now_ms = end_ms
    assert busiest_second(arrived_ms) <= limit


@settings(deadline=None)
@given(st.integers(1, 500))
def test_a_worker_with_work_uses_nearly_its_whole_share(per_second: int) -> None:
    now_ms, pacer, sent = 0.0, Pacer(), 0
    while now_ms < 10_000:
        wait_ms = pacer.wait_ms(per_second, now_ms)
        assert wait_ms is not None
        now_ms += wait_ms
        pacer = pacer.left(now_ms)
        sent += 1
    assert sent >= 0.94 * per_second * 10


def test_shares_of_no_partitions_are_nothing() -> None:
    assert share(100, 4, []) == 0
    assert Shares(4).of(100, 0.0) == 0
