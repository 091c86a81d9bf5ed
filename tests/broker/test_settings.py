"""A producer and a worker read the same variables in the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.settings import ProducerSettings
from streams.engine.settings import KafkaSettings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "environment",
    [
        {},
        # Variables of other programs.
        {"SSL_CERT_FILE": "/etc/ssl/cert.pem", "BOOTSTRAP_SERVERS": "wrong:1", "TOPIC_PREFIX": "wrong."},
        {"KAFKA_BOOTSTRAP_SERVERS": "a:1,b:2", "KAFKA_TOPIC_PREFIX": "test."},
        {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_FILE": "/ca.pem"},
        {
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_SASL_USERNAME": "ada",
            "KAFKA_SASL_PASSWORD": "for-tests-only",
            "KAFKA_SSL_CERT_FILE": "/cert.pem",
            "KAFKA_SSL_KEY_FILE": "/key.pem",
        },
    ],
)
def test_both_reach_the_broker_alike(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert ProducerSettings().librdkafka() == KafkaSettings().librdkafka()
    assert ProducerSettings().topic_prefix == KafkaSettings().topic_prefix


def test_a_password_may_lie_in_a_file_and_is_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("for-tests-only\n")
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "ada")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", str(tmp_path / "password"))
    settings = ProducerSettings()
    assert settings.librdkafka()["sasl.password"] == "for-tests-only"
    assert "for-tests-only" not in repr(settings)
