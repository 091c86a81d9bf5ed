"""Every process reads the same variables, and no variable is read for nothing."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr, ValidationError

from api.pages.settings import PagesSettings
from api.settings import ApiSettings, TrustSettings
from broker.secret_files import SecretFileSettings
from broker.settings import KafkaSettings
from database.engine import DatabaseSettings
from database.retention import RetentionSettings
from producers.mqtt_settings import MqttSettings
from streams.detection.settings import DetectionSettings
from streams.digests.mail.settings import MailSettings
from streams.digests.settings import DigestsSettings
from streams.engine.settings import WorkerSettings
from streams.notifications.settings import NotificationsSettings
from streams.recorder.settings import RecorderSettings
from tests.api.provider_events import PUBLIC_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_settings import BaseSettings

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("api", "broker", "cli", "database", "local", "outbox", "producers", "streams")
SETTINGS = (
    ApiSettings,
    TrustSettings,
    PagesSettings,
    SecretFileSettings,
    KafkaSettings,
    DatabaseSettings,
    RetentionSettings,
    MqttSettings,
    WorkerSettings,
    DetectionSettings,
    NotificationsSettings,
    DigestsSettings,
    RecorderSettings,
    MailSettings,
)
# What settings are called where they are read.
NAMES = {"self", "settings", "_settings", "worker_settings", "kafka", "_kafka", "database", "_database", "trust"}
REQUIRED = {
    "DATABASE_URL": "postgresql+asyncpg://ada:hush@127.0.0.1:5432/cold",
    "MQTT_USERNAME": "ada",
    "TELNYX_API_KEY": "a telnyx api key",
    "TELNYX_FROM": "+12025550199",
    "TELNYX_MESSAGING_PROFILE_ID": "profile-1",
    "PUBLIC_URL": "https://cold.example.com",
    "UNSUBSCRIBE_SECRET": "an unsubscribe secret of the tests",
}
SASL = {
    "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "KAFKA_SASL_USERNAME": "freshtrack",
}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*KafkaSettings.model_fields, "SASL_PASSWORD_FILE"]:
        monkeypatch.delenv(f"KAFKA_{name.upper()}", raising=False)


def test_every_settings_class_is_known_here() -> None:
    declared = {
        node.name
        for _, tree in _modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name.endswith("Settings") and node.bases
        if any(isinstance(base, ast.Name) and base.id.endswith("Settings") for base in node.bases)
    }
    assert declared == {known.__name__ for known in SETTINGS}


# `prune` reads retention by the table's name; its own test compares fields and tables.
@pytest.mark.parametrize("settings", [known for known in SETTINGS if known is not RetentionSettings])
def test_every_setting_is_read(settings: type[BaseSettings]) -> None:
    own = settings.__module__.replace(".", "/") + ".py"
    read = {
        field
        for path, tree in _modules()
        for holder, field in _reads(tree)
        if holder in NAMES and (holder != "self" or path == own)
    }
    inherited = {field for parent in settings.__mro__[1:] for field in getattr(parent, "model_fields", {})}
    assert set(settings.model_fields) - inherited - read == set()


@cache
def _modules() -> list[tuple[str, ast.Module]]:
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return [(str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))) for path in paths]


def _reads(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """`settings.port`, `self._settings.port` and `_needed(settings, "port")` with the name of what is read from."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=holder) | ast.Attribute(attr=holder), attr=field):
                yield holder, field
            case ast.Call(args=[ast.Name(id=holder), ast.Constant(value=str(field))]):
                yield holder, field


def secrets() -> list[tuple[type[BaseSettings], str]]:
    return [
        (settings, name)
        for settings in SETTINGS
        for name, field in settings.model_fields.items()
        if "SecretStr" in str(field.annotation) or not field.repr
    ]


def test_every_secret_is_known() -> None:
    assert {name for _, name in secrets()} == {
        "sasl_password",
        "url",
        "password",
        "telnyx_api_key",
        "telnyx_public_key",
        "unsubscribe_secret",
        "disruptive_signature_secret",
        "smtp_password",
        "api_key",
        "ses_secret_key",
        "ses_session_token",
    }


@pytest.mark.parametrize(("settings", "name"), secrets())
def test_every_secret_may_be_in_a_file_and_is_not_shown(
    settings: type[BaseSettings], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for required, value in REQUIRED.items():
        monkeypatch.setenv(required, value)
    field = settings.model_fields[name]
    variable = str(field.validation_alias or f"{settings.model_config['env_prefix']}{name}").upper()
    content = REQUIRED.get(variable, PUBLIC_KEY if name == "telnyx_public_key" else "a secret in a file, long enough")
    monkeypatch.delenv(variable, raising=False)
    (tmp_path / "secret").write_text(f"{content}\n", encoding="utf-8")
    monkeypatch.setenv(f"{variable}_FILE", str(tmp_path / "secret"))
    read = settings()
    found = getattr(read, name)
    assert (found.get_secret_value() if isinstance(found, SecretStr) else found) == content
    assert content not in repr(read)

    monkeypatch.setenv(f"{variable}_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(ValidationError, match=rf"{variable}_FILE names .*nowhere, which cannot be read"):
        settings()


def test_variables_of_other_programs_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ssl/cert.pem")
    monkeypatch.setenv("BOOTSTRAP_SERVERS", "wrong:1")
    monkeypatch.setenv("TOPIC_PREFIX", "wrong.")
    assert KafkaSettings() == KafkaSettings(bootstrap_servers="localhost:9092", topic_prefix="")
    assert KafkaSettings().librdkafka() == {"bootstrap.servers": "localhost:9092", "security.protocol": "PLAINTEXT"}


def test_the_clients_authenticate_alike(monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert "hush" not in repr(settings)


def test_authentication_without_a_password_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SASL.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match="KAFKA_SASL_PASSWORD_FILE"):
        KafkaSettings()


def test_tls_verifies_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SSL")
    assert KafkaSettings().ssl_context().check_hostname
    assert KafkaSettings().librdkafka()["security.protocol"] == "SSL"


def test_a_certificate_without_its_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="belong together"):
        KafkaSettings(ssl_cert_file=Path("client.pem"))


def test_a_topic_prefix_stands_before_every_name() -> None:
    assert KafkaSettings(topic_prefix="test.").topic("readings") == "test.readings"
