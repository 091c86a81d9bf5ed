"""Kafka's jars are the pinned ones or are not run at all, and what cannot be fetched gets a clear error."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import pytest

from local.jars import PINS, JarsUnavailableError, kafka_jars, pinned
from local.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path


def one_pin(folder: Path, sha256: str) -> Path:
    pins = folder / "pins.txt"
    pins.write_text(f"# one\n{sha256}  org.slf4j:slf4j-simple:1.7.36\n")
    return pins


def test_every_jar_is_pinned_by_a_sha256_sum() -> None:
    jars = pinned()
    assert len(jars) > 40
    assert all(re.fullmatch("[0-9a-f]{64}", jar.sha256) for jar in jars)
    assert len({jar.name for jar in jars}) == len(jars)


def test_a_jar_with_another_checksum_is_refused_and_the_message_says_which_file_to_delete(tmp_path: Path) -> None:
    maven = tmp_path / "maven"
    bad = maven / "org/slf4j/slf4j-simple/1.7.36/slf4j-simple-1.7.36.jar"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(b"not the jar")

    with pytest.raises(JarsUnavailableError, match=rf"SHA-256.*expected {'0' * 64}.*Delete {bad}"):
        kafka_jars(tmp_path / "cache", pins=one_pin(tmp_path, "0" * 64), maven_cache=maven)

    assert not list((tmp_path / "cache").rglob("*.jar"))


def test_an_unreachable_repository_is_named_with_the_ways_out(tmp_path: Path) -> None:
    repository = f"http://127.0.0.1:{free_port()}/maven"
    with pytest.raises(JarsUnavailableError) as failed:
        kafka_jars(tmp_path / "cache", pins=PINS, repository=repository, maven_cache=tmp_path / "maven")
    for part in (repository, "FRESHTRACK_MAVEN_REPOSITORY", "HTTPS_PROXY", "KAFKA_BOOTSTRAP_SERVERS"):
        assert part in str(failed.value)


def test_the_repository_can_be_set_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = f"http://127.0.0.1:{free_port()}/mirror"
    monkeypatch.setenv("FRESHTRACK_MAVEN_REPOSITORY", repository)
    with pytest.raises(JarsUnavailableError, match=repository):
        kafka_jars(tmp_path / "cache", maven_cache=tmp_path / "maven")


def test_verified_jars_are_not_read_again(tmp_path: Path) -> None:
    maven = tmp_path / "maven"
    jar = maven / "org/slf4j/slf4j-simple/1.7.36/slf4j-simple-1.7.36.jar"
    jar.parent.mkdir(parents=True)
    jar.write_bytes(b"the jar")
    pins = one_pin(tmp_path, hashlib.sha256(b"the jar").hexdigest())

    first = kafka_jars(tmp_path / "cache", pins=pins, maven_cache=maven)
    jar.unlink()

    assert kafka_jars(tmp_path / "cache", pins=pins, maven_cache=maven) == first
    assert first[0].read_bytes() == b"the jar"
