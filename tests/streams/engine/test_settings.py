from __future__ import annotations

import ast
from pathlib import Path

import pytest
from pydantic import ValidationError

from streams.engine.settings import KafkaSettings, WorkerSettings

ROOT = Path(__file__).resolve().parents[3]
SASL = {
    "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "KAFKA_SASL_USERNAME": "freshtrack",
}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's own environment says about Kafka is none of our business here."""
    for name in [*KafkaSettings.model_fields, "SASL_PASSWORD_FILE"]:
        monkeypatch.delenv(f"KAFKA_{name.upper()}", raising=False)
    for name in WorkerSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_every_setting_is_read_by_something() -> None:
    read: set[str] = set()
    for folder in ("streams", "schemas", "producers", "api", "cli", "local"):
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            read |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert set(WorkerSettings.model_fields) - read == set()


def test_all_three_clients_are_told_the_same_about_authentication(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (SASL | {"KAFKA_SASL_PASSWORD": "hush"}).items():
        monkeypatch.setenv(name, value)
    settings = KafkaSettings()
    assert settings.librdkafka() == {
        "bootstrap.servers": "localhost:9092",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "freshtrack",
        "sasl.password": "hush",
    }
    assert settings.aiokafka() == {
        "bootstrap_servers": "localhost:9092",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "freshtrack",
        "sasl_plain_password": "hush",
    }
    credentials = settings.faust_credentials()
    assert (credentials.username, credentials.password, credentials.mechanism.value) == (
        "freshtrack",
        "hush",
        "SCRAM-SHA-512",
    )
    assert "hush" not in repr(settings)


def test_a_password_may_lie_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from a file\n", encoding="utf-8")
    for name, value in (SASL | {"KAFKA_SASL_PASSWORD_FILE": str(secret)}).items():
        monkeypatch.setenv(name, value)
    assert KafkaSettings().librdkafka()["sasl.password"] == "from a file"


def test_authentication_without_a_password_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SASL.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match="KAFKA_SASL_PASSWORD_FILE"):
        KafkaSettings()


def test_tls_verifies_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SSL")
    context = KafkaSettings().ssl_context()
    assert context.check_hostname
    assert KafkaSettings().librdkafka()["security.protocol"] == "SSL"
    assert KafkaSettings().faust_credentials().protocol.value == "SSL"


def test_a_certificate_without_its_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="belong together"):
        KafkaSettings(ssl_cert_file=Path("client.pem"))


def test_a_worker_must_notice_a_pause_before_others_take_over() -> None:
    with pytest.raises(ValidationError, match="FREEZE_LIMIT_S is 12, must be below SESSION_TIMEOUT_S"):
        WorkerSettings(freeze_limit_s=12)


def test_a_topic_prefix_stands_before_every_name() -> None:
    assert KafkaSettings(topic_prefix="test.").topic("readings") == "test.readings"
