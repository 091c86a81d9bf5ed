"""Every benchmark runs: a small part of each, as people start it. How fast is not looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.scale import VARIABLE, runs, scaled
from cli.bench import Benchmark

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.broker
@pytest.mark.postgres
@pytest.mark.parametrize("name", list(Benchmark))
def test_a_small_part_of_the_benchmark_prints_its_figures(name: Benchmark) -> None:
    # Without other programs on the path no peer is installed: it is the benchmark that is tried.
    environment = {key: value for key, value in os.environ.items() if key not in {"KAFKA_BOOTSTRAP_SERVERS", "PATH"}}
    done = subprocess.run(
        [sys.executable, "-m", "cli", "bench", name.value, "--scale", "0.001"],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
    assert json.loads(done.stdout.splitlines()[-1])


def test_at_full_scale_nothing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert (scaled(100_000), runs(3)) == (100_000, 3)
    monkeypatch.setenv(VARIABLE, "0.001")
    assert (scaled(100_000), scaled(100, at_least=7), runs(3)) == (100, 7, 1)
