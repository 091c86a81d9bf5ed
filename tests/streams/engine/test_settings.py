from __future__ import annotations

import pytest
from pydantic import ValidationError

from streams.engine.settings import WorkerSettings


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's own environment says about Kafka is none of our business here."""
    for name in WorkerSettings.model_fields:
        monkeypatch.delenv(f"KAFKA_{name.upper()}", raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_faust_authenticates_as_the_other_clients_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
    monkeypatch.setenv("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "freshtrack")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "hush")
    credentials = WorkerSettings().faust_credentials()
    assert (credentials.username, credentials.password, credentials.mechanism.value) == (
        "freshtrack",
        "hush",
        "SCRAM-SHA-512",
    )


def test_faust_verifies_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SSL")
    assert WorkerSettings().faust_credentials().protocol.value == "SSL"


def test_a_worker_must_notice_a_pause_before_others_take_over() -> None:
    with pytest.raises(ValidationError, match="FREEZE_LIMIT_S is 12, must be below SESSION_TIMEOUT_S"):
        WorkerSettings(freeze_limit_s=12)
