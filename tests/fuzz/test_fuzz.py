"""Whatever comes from outside is taken or refused by a typed error, in time and without filling memory.

What was ever found lies in `tests/data/fuzz/TARGET/`, and is tried first. `--long` gives each target a minute.
"""

from __future__ import annotations

import logging
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutator import mutations
from tests.fuzz.targets import Target, targets

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).resolve().parents[1] / "data" / "fuzz"
TARGETS = targets()
FOUND = Path(tempfile.gettempdir()) / "freshtrack-fuzz-found"
EACH_WITHIN_S = 5.0
GROWTH_KIB = 400 * 1024
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What is refused is logged, and there are thousands of them."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


def attempt(name: str, target: Target, data: bytes) -> None:
    begin = time.monotonic()
    try:
        target.take(data)
    except target.refusals:
        pass
    except Exception as error:
        kept = DATA / name / f"{abs(hash(data)):x}.bin"
        raise AssertionError(
            f"{name} raised {error!r} for {data[:300]!r}; keep it as {kept}: {data.hex()[:4_000]}"
        ) from error
    took_s = time.monotonic() - begin
    assert took_s < EACH_WITHIN_S, f"{name} took {took_s:.1f} s for {len(data)} bytes: {data[:300]!r}"


def corpus_of(name: str) -> list[bytes]:
    found = [path.read_bytes() for path in sorted((DATA / name).glob("*.bin"))]
    return [*found, *TARGETS[name].corpus]


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_once_and_what_is_valid(name: str) -> None:
    for data in corpus_of(name):
        attempt(name, TARGETS[name], data)


@pytest.mark.parametrize("seconds", [0.3, pytest.param(60.0, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", TARGETS)
def test_mutated_messages(name: str, seconds: float) -> None:
    seed = 20260301 if seconds < 1 else time.time_ns()
    target, corpus = TARGETS[name], corpus_of(name)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end, count = time.monotonic() + seconds, 0
    for data in mutations(random.Random(seed), corpus):
        attempt(name, target, data)
        count += 1
        if time.monotonic() > end:
            break
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    assert grown_kib < GROWTH_KIB, f"{name} took {grown_kib // 1024} MiB in {count} messages (seed {seed})"


@pytest.mark.parametrize("name", TARGETS)
def test_bytes_and_structures_of_hypothesis(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
    @given(st.binary(max_size=2_000) | JSON.map(lambda value: msgspec.json.encode(_encodable(value))))
    def try_it(data: bytes) -> None:
        attempt(name, target, data)

    try_it()


def _encodable(value: object) -> object:
    """Texts with lone surrogates have no UTF-8, and JSON's integers are bounded here."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, int) and not isinstance(value, bool):
        return value % 2**63
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    return value
