"""How the bridge reaches the MQTT broker, from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from broker.secret_files import SecretFileSettings


class MqttSettings(SecretFileSettings):
    """Each field is the variable of its name with `MQTT_` before it."""

    model_config = SettingsConfigDict(
        env_prefix="MQTT_", frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    host: Annotated[str, Field(min_length=1)] = "localhost"
    port: Annotated[int | None, Field(ge=1, le=65_535, description="1883, with TLS 8883")] = None
    client_id: Annotated[
        str,
        Field(min_length=1, max_length=100, description="The broker keeps messages for it; two bridges need two names"),
    ] = "freshtrack-bridge"
    username: str | None = None
    password: SecretStr | None = None
    tls: Annotated[bool, Field(description="Verifies the broker's name and certificate")] = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    organization: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$",
            description="Of a broker that only one organization uses: topics begin with site/, not organization/",
        ),
    ] = None
    keepalive_s: Annotated[int, Field(ge=5, le=3_600)] = 30
    longest_pause_s: Annotated[int, Field(ge=1, le=3_600, description="Between attempts to connect; grows from 1")] = 30
    window: Annotated[int, Field(ge=1, le=65_535, description="Messages on the way to Kafka at once")] = 1_000
    window_bytes: Annotated[int, Field(ge=1_024, description="Their payloads at once")] = 16_777_216

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.password is not None and self.username is None:
            raise ValueError("MQTT_PASSWORD is set, so MQTT_USERNAME must be set too")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("MQTT_CERT_FILE and MQTT_KEY_FILE belong together: set both or none")
        if not self.tls and (self.ca_file or self.cert_file):
            raise ValueError("MQTT_CA_FILE and MQTT_CERT_FILE are for TLS: set MQTT_TLS=true or leave them out")
        return self

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port or (8883 if self.tls else 1883)
