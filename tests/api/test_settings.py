"""Secrets come from the environment or from files, are checked at the start, and are shown nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from api.settings import TrustSettings
from cli.__main__ import app
from tests.api.provider_events import PUBLIC_KEY

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "a secret that nobody guesses"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in TrustSettings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
        monkeypatch.delenv(f"{field.upper()}_FILE", raising=False)


def test_what_is_not_set_is_off() -> None:
    assert set(TrustSettings().model_dump().values()) == {None}


def test_the_environment_is_read_and_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELNYX_PUBLIC_KEY", PUBLIC_KEY)
    monkeypatch.setenv("UNSUBSCRIBE_SECRET", SECRET)
    settings = TrustSettings()
    assert settings.unsubscribe_secret is not None
    assert (settings.telnyx_public_key, settings.unsubscribe_secret.get_secret_value()) == (PUBLIC_KEY, SECRET)
    assert SECRET not in repr(settings)


def test_a_secret_may_lie_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for field in TrustSettings.model_fields:
        content = PUBLIC_KEY if field == "telnyx_public_key" else SECRET
        (tmp_path / field).write_text(f"{content}\n")
        monkeypatch.setenv(f"{field.upper()}_FILE", str(tmp_path / field))
    settings = TrustSettings()
    for secret in (settings.unsubscribe_secret, settings.disruptive_signature_secret):
        assert secret is not None
        assert secret.get_secret_value() == SECRET
    assert settings.telnyx_public_key == PUBLIC_KEY


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("TELNYX_PUBLIC_KEY", "no key at all", "32 bytes in base64"),
        ("UNSUBSCRIBE_SECRET", "short", "at least 16 bytes"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, rule: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValidationError, match=rule) as refused:
        TrustSettings()
    assert value not in str(refused.value)


def test_the_command_names_the_setting_and_the_rule_and_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    monkeypatch.setenv("TELNYX_PUBLIC_KEY", "no key at all")
    done = CliRunner().invoke(app, ["api", "--port", "0"])
    assert done.exit_code == 2
    assert "telnyx_public_key" in done.output
    assert "32 bytes in base64" in done.output
    assert "no key at all" not in done.output


def test_a_short_signature_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISRUPTIVE_SIGNATURE_SECRET", "fifteen bytes !")
    with pytest.raises(ValidationError, match="at least 16 bytes"):
        TrustSettings()
