"""The API's settings, from the environment: each field is the variable of its name with `API_` before it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.webhooks.telnyx.signature import public_key
from broker.secret_files import SecretFileSettings
from domain.digest.unsubscribe import SHORTEST_SECRET_BYTES


class ApiSettings(BaseSettings):
    """Limits of one process of the API."""

    model_config = SettingsConfigDict(env_prefix="API_", frozen=True, extra="ignore")

    body_limit_bytes: Annotated[int, Field(ge=1_024, description="Larger requests get 413")] = 65_536
    readings_limit_bytes: Annotated[int, Field(ge=1_024, description="The same for POST /v1/readings")] = 4_194_304
    head_limit_bytes: Annotated[int, Field(ge=1_024, description="Larger request lines and headers get 431")] = 32_768
    head_limit_s: Annotated[float, Field(gt=0, description="Slower request lines and headers are cut off")] = 10.0
    keep_alive_s: Annotated[int, Field(ge=1, description="How long a connection may be idle")] = 65
    connection_limit: Annotated[int, Field(ge=1, description="With more connections, requests get 503")] = 2_000
    ready_cache_s: Annotated[float, Field(ge=0, description="How long /readyz repeats its last answer")] = 1.0
    time_limit_s: Annotated[float, Field(gt=0, description="A request that takes longer gets 503")] = 15.0
    delivery_limit_s: Annotated[float, Field(gt=0, description="How long ingest waits for the broker")] = 5.0
    unsent_limit_bytes: Annotated[int, Field(ge=1_024, description="Limit of bodies waiting for the broker")] = (
        67_108_864
    )
    key_cache_s: Annotated[float, Field(ge=0, description="A revoked key works up to this long")] = 5.0
    unit_cache_s: Annotated[float, Field(ge=0, description="A deleted unit accepts readings up to this long")] = 5.0
    failed_keys_per_min: Annotated[float, Field(gt=0, description="Wrong API keys of one address")] = 30.0
    metrics_open: Annotated[bool, Field(description="/metrics answers every address, not this machine only")] = False
    tls_cert_file: Annotated[Path | None, Field(description="PEM, with the chain; then only HTTPS is served")] = None
    tls_key_file: Annotated[Path | None, Field(description="PEM, without a passphrase")] = None
    requests_per_s: Annotated[float, Field(gt=0, description="Rate of one key, except gateways'")] = 100.0
    gateway_requests_per_s: Annotated[float, Field(gt=0, description="Rate of one gateway key")] = 10_000.0

    @model_validator(mode="after")
    def _certificate_with_key(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("API_TLS_CERT_FILE and API_TLS_KEY_FILE belong together: set both or none")
        for file in (self.tls_cert_file, self.tls_key_file):
            if file is not None and not os.access(file, os.R_OK):
                raise ValueError(f"{file} cannot be read")
        return self


def _provider_key(base64_text: str) -> str:
    public_key(base64_text)
    return base64_text


def _long_enough(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().encode()) < SHORTEST_SECRET_BYTES:
        raise ValueError(f"must have at least {SHORTEST_SECRET_BYTES} bytes; openssl rand -base64 32 makes one")
    return secret


class TrustSettings(SecretFileSettings):
    """Secrets that authenticate callers without an API key; the variables are the fields' names, without a prefix.

    Without its secret an endpoint answers 503; Disruptive's goes unchecked.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    telnyx_public_key: Annotated[
        str | None,
        AfterValidator(lambda text: text and _provider_key(text)),
        Field(repr=False, description="From Telnyx's portal: 32 bytes in base64; webhooks are checked with it"),
    ] = None
    unsubscribe_secret: Annotated[
        SecretStr | None,
        AfterValidator(lambda secret: secret and _long_enough(secret)),
        Field(description="Signs the unsubscribe links; the same for the api and the digests worker"),
    ] = None
    disruptive_signature_secret: Annotated[
        SecretStr | None,
        AfterValidator(lambda secret: secret and _long_enough(secret)),
        Field(description="The signature secret of the data connectors; their events must then be signed"),
    ] = None
