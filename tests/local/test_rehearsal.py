"""The first start of a machine prepares the later ones, and nothing depends on the cache being good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.jars import kafka_jars
from local.kafka import EmbeddedKafka
from local.rehearsal import is_prepared, rehearsed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.broker


@pytest.mark.long
def test_a_start_on_an_empty_cache_leaves_a_cache_that_the_next_start_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRESHTRACK_CACHE", str(tmp_path / "cache"))
    jars = kafka_jars()
    assert all(jar.is_relative_to(tmp_path / "cache") for jar in jars)
    assert not is_prepared()

    with EmbeddedKafka(tmp_path / "first") as broker:
        assert broker.answers()

    assert is_prepared()
    made = rehearsed(jars)
    assert (made.formatted / "meta.properties").exists()
    assert any(option.startswith("-XX:AOTCache=") for option in made.options)


def test_a_broken_cache_costs_time_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.aot"
    broken.write_bytes(b"no cache")
    good = rehearsed(kafka_jars())
    monkeypatch.setattr("local.kafka.rehearsed", lambda _: good._replace(options=(f"-XX:AOTCache={broken}",)))

    with EmbeddedKafka(tmp_path / "broker") as broker:
        assert broker.answers()
