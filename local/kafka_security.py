"""Settings by which the embedded broker asks who comes: SCRAM over TLS, client certificates, and an authorizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from local.ports import LOOPBACK, free_port

if TYPE_CHECKING:
    from pathlib import Path


class SecuredListeners(NamedTuple):
    """The broker's ports; `plain` is the operator's own door, on loopback only, and the only one without a check."""

    plain: int
    controller: int
    scram: int
    mtls: int

    @classmethod
    def on_free_ports(cls) -> SecuredListeners:
        return cls(*(free_port() for _ in range(4)))

    @property
    def scram_bootstrap(self) -> str:
        return f"{LOOPBACK}:{self.scram}"

    @property
    def mtls_bootstrap(self) -> str:
        return f"{LOOPBACK}:{self.mtls}"

    def settings(self, *, identity: Path, authority: Path) -> dict[str, str]:
        """For `EmbeddedKafka(extra=…)`. Both files are PEM: the broker's key (PKCS 8) and chain, and who signs clients.

        The principal of a client certificate is its common name.
        """
        doors = {"PLAINTEXT": self.plain, "CONTROLLER": self.controller, "SCRAM": self.scram, "MTLS": self.mtls}
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", "SCRAM": "SASL_SSL", "MTLS": "SSL"}
        addresses = {name: f"{name}://{LOOPBACK}:{port}" for name, port in doors.items()}
        return {
            "listeners": ",".join(addresses.values()),
            "advertised.listeners": ",".join(address for name, address in addresses.items() if name != "CONTROLLER"),
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.scram.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "listener.name.mtls.ssl.client.auth": "required",
            "listener.name.mtls.ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(identity),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(authority),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "false",
        }
