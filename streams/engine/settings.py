"""Settings of everything that talks to Kafka, and of a worker. All come from the environment.

A password may also lie in a file: `KAFKA_SASL_PASSWORD_FILE=/run/secrets/kafka` names it.
"""

from __future__ import annotations

import os
import ssl
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


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


class KafkaSettings(BaseSettings):
    """How to reach the brokers, the same for librdkafka, aiokafka and Faust."""

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

    @model_validator(mode="before")
    @classmethod
    def _read_password_file(cls, values: dict[str, Any]) -> dict[str, Any]:
        path = os.environ.get("KAFKA_SASL_PASSWORD_FILE")
        if path and not values.get("sasl_password"):
            return values | {"sasl_password": Path(path).read_text(encoding="utf-8").strip()}
        return values

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

    def librdkafka(self) -> dict[str, str | int]:
        """What a confluent-kafka client needs to connect."""
        settings: dict[str, str | int] = {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": self.security_protocol.value,
        }
        if self.security_protocol.sasl:
            settings |= {
                "sasl.mechanism": self.sasl_mechanism,
                "sasl.username": self.sasl_username or "",
                "sasl.password": self._password(),
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
                "sasl_plain_password": self._password(),
            }
        if self.security_protocol.tls:
            settings["ssl_context"] = self.ssl_context()
        return settings

    def faust_credentials(self) -> Any:  # noqa: ANN401 - Faust ships no types
        """What a Faust app needs to connect; None without authentication and encryption."""
        import faust

        context = self.ssl_context() if self.security_protocol.tls else None
        if self.security_protocol.sasl:
            return faust.SASLCredentials(
                mechanism=self.sasl_mechanism,
                username=self.sasl_username,
                password=self._password(),
                ssl_context=context,
            )
        return faust.SSLCredentials(context) if context is not None else None

    def ssl_context(self) -> ssl.SSLContext:
        """Verifies the broker's name and certificate; presents ours when there is one."""
        context = ssl.create_default_context(cafile=self.ssl_ca_file)
        if self.ssl_cert_file is not None:
            context.load_cert_chain(self.ssl_cert_file, self.ssl_key_file)
        return context

    def _password(self) -> str:
        return self.sasl_password.get_secret_value() if self.sasl_password is not None else ""


class Store(StrEnum):
    ROCKSDB = "rocksdb"
    MEMORY = "memory"


class WorkerSettings(KafkaSettings):
    """One worker process; every worker on a machine needs its own `DATA_DIR`."""

    data_dir: Annotated[Path, Field(validation_alias="DATA_DIR", description="where RocksDB keeps the tables")] = Path(
        "data"
    )
    store: Annotated[Store, Field(validation_alias="STORE", description="tables on disk, or in memory only")] = (
        Store.ROCKSDB
    )
    max_batch: Annotated[
        int, Field(validation_alias="MAX_BATCH", description="records that a flow gets at once", ge=1)
    ] = 10_000
    queued_batches: Annotated[
        int, Field(validation_alias="QUEUED_BATCHES", description="batches of a topic under way", ge=1, le=1_000)
    ] = 8
    replication_factor: Annotated[
        int, Field(validation_alias="REPLICATION_FACTOR", description="copies of each changelog", ge=1)
    ] = 1
    session_timeout_s: Annotated[
        float, Field(validation_alias="SESSION_TIMEOUT_S", description="silence before others take over", gt=0)
    ] = 10.0
    freeze_limit_s: Annotated[
        float, Field(validation_alias="FREEZE_LIMIT_S", description="a pause that ends the process", gt=0)
    ] = 8.0
    commit_interval_s: Annotated[
        float, Field(validation_alias="COMMIT_INTERVAL_S", description="from commit to commit", gt=0)
    ] = 1.0
    send_limit_s: Annotated[
        float, Field(validation_alias="SEND_LIMIT_S", description="a slower send ends the worker", gt=0)
    ] = 30.0
    drain_limit_s: Annotated[
        float, Field(validation_alias="DRAIN_LIMIT_S", description="from SIGTERM to the end", gt=0, le=60)
    ] = 30.0
    metrics_port: Annotated[
        int, Field(validation_alias="METRICS_PORT", description="0: a free one", ge=0, le=65_535)
    ] = 0

    @model_validator(mode="after")
    def _freeze_before_takeover(self) -> Self:
        if self.freeze_limit_s >= self.session_timeout_s:
            raise ValueError(
                f"FREEZE_LIMIT_S is {self.freeze_limit_s:g}, must be below SESSION_TIMEOUT_S"
                f" ({self.session_timeout_s:g}): a worker must notice a pause before others take its partitions"
            )
        return self
