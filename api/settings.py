"""The API's settings, from the environment: each field is the variable of its name with `API_` before it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ApiSettings(BaseSettings):
    """Limits of one process of the API."""

    model_config = SettingsConfigDict(env_prefix="API_", frozen=True, extra="ignore")

    body_limit_bytes: Annotated[int, Field(ge=1_024, description="Larger requests get 413")] = 4_194_304
    time_limit_s: Annotated[float, Field(gt=0, description="A request that takes longer gets 503")] = 15.0
    delivery_limit_s: Annotated[float, Field(gt=0, description="How long ingest waits for the broker")] = 5.0
    unsent_limit_bytes: Annotated[int, Field(ge=1_024, description="Bodies that may wait for the broker")] = 67_108_864
    key_cache_s: Annotated[float, Field(ge=0, description="A revoked key may work this long")] = 5.0
    unit_cache_s: Annotated[float, Field(ge=0, description="A deleted unit may be written this long")] = 5.0
    requests_per_s: Annotated[float, Field(gt=0, description="Of one key, apart from gateways")] = 100.0
    gateway_requests_per_s: Annotated[float, Field(gt=0, description="Of one gateway key")] = 10_000.0
