"""A broker that asks who comes: certificates made for it alone, a SCRAM user and a certificate for each process."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

import trustme
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from broker.settings import KafkaSettings, SecurityProtocol
from local.kafka import EmbeddedKafka
from local.kafka_security import SecuredListeners
from local.ports import LOOPBACK
from schemas.processes import Process

if TYPE_CHECKING:
    from pathlib import Path

    from trustme import LeafCert

ITERATIONS = 4_096


def password(process: Process) -> str:
    return f"password of {process}"


def _write(certificate: LeafCert, path: Path) -> tuple[Path, Path]:
    """The chain, and the key as PKCS 8, the only form that Kafka reads."""
    chain, key = path.with_suffix(".pem"), path.with_suffix(".key")
    chain.write_bytes(b"".join(part.bytes() for part in certificate.cert_chain_pems))
    loaded = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    key.write_bytes(loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return chain, key


class Secured(NamedTuple):
    """The running broker; `folder` holds the authority's certificate and one for each process."""

    broker: EmbeddedKafka
    listeners: SecuredListeners
    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Self:
        folder.mkdir(parents=True, exist_ok=True)
        authority, listeners = trustme.CA(), SecuredListeners.on_free_ports()
        authority.cert_pem.write_to_path(folder / "authority.pem")
        for process in Process:
            _write(authority.issue_cert(f"{process}.example.com", common_name=process), folder / process)
        stranger = trustme.CA().issue_cert("detection.example.com", common_name="detection")
        _write(stranger, folder / "stranger")
        chain, key = _write(authority.issue_cert(LOOPBACK, "localhost"), folder / "broker")
        identity = folder / "identity.pem"
        identity.write_bytes(key.read_bytes() + chain.read_bytes())
        extra = listeners.settings(identity=identity, authority=folder / "authority.pem")
        broker = EmbeddedKafka(
            folder / "kafka", port=listeners.plain, controller_port=listeners.controller, extra=extra
        )
        return cls(broker, listeners, folder)

    def add_users(self) -> None:
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS)
        wanted: list[UserScramCredentialAlteration] = [
            UserScramCredentialUpsertion(process, info, password(process).encode()) for process in Process
        ]
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap})
        for future in admin.alter_user_scram_credentials(wanted).values():
            future.result(30)

    def by_password(self, process: Process, prefix: str, secret: str | None = None) -> KafkaSettings:
        return KafkaSettings.model_validate(
            {
                "bootstrap_servers": self.listeners.scram_bootstrap,
                "security_protocol": SecurityProtocol.SASL_SSL,
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_username": process.value,
                "sasl_password": secret or password(process),
                "ssl_ca_file": self.folder / "authority.pem",
                "topic_prefix": prefix,
            }
        )

    def by_certificate(self, name: str, prefix: str) -> KafkaSettings:
        return KafkaSettings.model_validate(
            {
                "bootstrap_servers": self.listeners.mtls_bootstrap,
                "security_protocol": SecurityProtocol.SSL,
                "ssl_ca_file": self.folder / "authority.pem",
                "ssl_cert_file": self.folder / f"{name}.pem",
                "ssl_key_file": self.folder / f"{name}.key",
                "topic_prefix": prefix,
            }
        )


def environment(settings: KafkaSettings) -> dict[str, str]:
    """The settings as a process gets them."""
    fields = settings.model_dump(exclude_none=True) | (
        {"sasl_password": settings.password} if settings.password else {}
    )
    return {f"KAFKA_{name.upper()}": str(value) for name, value in fields.items()}
