"""How every process reaches Kafka, from the environment: the same for librdkafka, aiokafka and Faust."""

from __future__ import annotations

import ssl
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from broker.secret_files import SecretFileSettings


class SecurityProtocol(StrEnum):
    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"

    @property
    def sasl(self) -> bool:
        return self in {SecurityProtocol.SASL_PLAINTEXT, SecurityProtocol.SASL_SSL}

    @property
    def tls(self) -> bool:
        return self in {SecurityProtocol.SSL, SecurityProtocol.SASL_SSL}


class KafkaSettings(SecretFileSettings):
    """Each field is the variable of its name with `KAFKA_` before it."""

    model_config = SettingsConfigDict(
        frozen=True, env_prefix="KAFKA_", extra="ignore", hide_input_in_errors=True, populate_by_name=True
    )

    bootstrap_servers: Annotated[str, Field(min_length=1)] = "localhost:9092"
    security_protocol: SecurityProtocol = SecurityProtocol.PLAINTEXT
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca_file: Path | None = None
    ssl_cert_file: Path | None = None
    ssl_key_file: Path | None = None
    topic_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]*$")] = ""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.security_protocol.sasl and (self.sasl_username is None or self.sasl_password is None):
            raise ValueError(
                f"KAFKA_SECURITY_PROTOCOL is {self.security_protocol}, so KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
                " (or KAFKA_SASL_PASSWORD_FILE) must be set"
            )
        if (self.ssl_cert_file is None) != (self.ssl_key_file is None):
            raise ValueError("KAFKA_SSL_CERT_FILE and KAFKA_SSL_KEY_FILE belong together: set both or none")
        return self

    def topic(self, name: str) -> str:
        """The topic's name at the broker."""
        return self.topic_prefix + name

    def librdkafka(self) -> dict[str, str | int | float | bool]:
        """What a confluent-kafka client needs to connect."""
        settings: dict[str, str | int | float | bool] = {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": self.security_protocol.value,
        }
        if self.security_protocol.sasl:
            settings |= {
                "sasl.mechanism": self.sasl_mechanism,
                "sasl.username": self.sasl_username or "",
                "sasl.password": self.password,
            }
        if self.security_protocol.tls:
            files = {
                "ssl.ca.location": self.ssl_ca_file,
                "ssl.certificate.location": self.ssl_cert_file,
                "ssl.key.location": self.ssl_key_file,
            }
            settings |= {name: str(path) for name, path in files.items() if path is not None}
        return settings

    def aiokafka(self) -> dict[str, Any]:
        """What an aiokafka client needs to connect."""
        settings: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": self.security_protocol.value,
        }
        if self.security_protocol.sasl:
            settings |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.password,
            }
        if self.security_protocol.tls:
            settings["ssl_context"] = self.ssl_context()
        return settings

    def ssl_context(self) -> ssl.SSLContext:
        """Verifies the broker's name and certificate; presents our certificate if one is set."""
        context = ssl.create_default_context(cafile=self.ssl_ca_file)
        if self.ssl_cert_file is not None:
            context.load_cert_chain(self.ssl_cert_file, self.ssl_key_file)
        return context

    @property
    def password(self) -> str:
        """Empty when none is set."""
        return self.sasl_password.get_secret_value() if self.sasl_password is not None else ""
