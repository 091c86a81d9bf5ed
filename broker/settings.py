"""How a producer reaches Kafka, from the environment: the same variables that the workers read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class ProducerSettings(BaseSettings):
    """Each field is the variable of its name with `KAFKA_` before it.

    A password may also lie in a file: `KAFKA_SASL_PASSWORD_FILE=/run/secrets/kafka` names it.
    """

    model_config = SettingsConfigDict(env_prefix="KAFKA_", frozen=True, extra="ignore", hide_input_in_errors=True)

    bootstrap_servers: str = "localhost:9092"
    topic_prefix: str = ""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca_file: Path | None = None
    ssl_cert_file: Path | None = None
    ssl_key_file: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_password_file(cls, values: dict[str, Any]) -> dict[str, Any]:
        path = os.environ.get("KAFKA_SASL_PASSWORD_FILE")
        if path and not values.get("sasl_password"):
            return values | {"sasl_password": Path(path).read_text(encoding="utf-8").strip()}
        return values

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.security_protocol.startswith("SASL") and (self.sasl_username is None or self.sasl_password is None):
            raise ValueError(
                f"KAFKA_SECURITY_PROTOCOL is {self.security_protocol}, so KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
                " (or KAFKA_SASL_PASSWORD_FILE) must be set"
            )
        if (self.ssl_cert_file is None) != (self.ssl_key_file is None):
            raise ValueError("KAFKA_SSL_CERT_FILE and KAFKA_SSL_KEY_FILE belong together: set both or none")
        return self

    def librdkafka(self) -> dict[str, str | int | float | bool]:
        """The same in librdkafka's names; what is not used is left out."""
        settings: dict[str, str | int | float | bool] = {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": self.security_protocol,
        }
        if self.security_protocol.startswith("SASL"):
            settings |= {
                "sasl.mechanism": self.sasl_mechanism,
                "sasl.username": self.sasl_username or "",
                "sasl.password": self.sasl_password.get_secret_value() if self.sasl_password else "",
            }
        if self.security_protocol.endswith("SSL"):
            files = {
                "ssl.ca.location": self.ssl_ca_file,
                "ssl.certificate.location": self.ssl_cert_file,
                "ssl.key.location": self.ssl_key_file,
            }
            settings |= {name: str(path) for name, path in files.items() if path is not None}
        return settings
