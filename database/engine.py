"""How to reach the database: its settings and the engine."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from broker.secret_files import SecretFileSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import URL


def _postgresql(value: str) -> str:
    """Any usual spelling of a PostgreSQL address, with the driver that we use."""
    try:
        url = make_url(value)
    except ArgumentError as error:
        message = "DATABASE_URL is no address; write postgresql://USER:PASSWORD@HOST:5432/NAME"
        raise ValueError(message) from error
    if url.drivername not in {"postgres", "postgresql", "postgresql+asyncpg"}:
        message = f"DATABASE_URL begins with {url.drivername}; only postgresql:// is supported"
        raise ValueError(message)
    return url.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)


class DatabaseSettings(SecretFileSettings):
    """`DATABASE_URL`, or the file that `DATABASE_URL_FILE` names, and the limits of one process' pool."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="DATABASE_", extra="ignore", hide_input_in_errors=True)

    url: Annotated[str, AfterValidator(_postgresql), Field(repr=False)]
    pool_size: Annotated[int, Field(ge=1)] = 10
    statement_timeout_s: Annotated[float, Field(gt=0)] = 30.0

    @property
    def address(self) -> URL:
        """Prints with its password hidden."""
        return make_url(self.url)


def make_engine(settings: DatabaseSettings, *, acting: Mapping[str, str] = MappingProxyType({})) -> AsyncEngine:
    """Connects on first use only. Every session speaks UTC, and no statement runs longer than the limit.

    `acting` says who changes rows and from where, as the audit trail names it (`actor`, `origin`); requests of the
    API and other short acts say it in their transaction instead.
    """
    return create_async_engine(
        settings.address,
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=True,
        connect_args={
            "timeout": 5,
            "server_settings": {
                "application_name": "freshtrack",
                "timezone": "UTC",
                "statement_timeout": str(round(settings.statement_timeout_s * 1000)),
                **{f"freshtrack.{name}": value for name, value in acting.items()},
            },
        },
    )
