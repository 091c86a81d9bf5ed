"""Settings of the web pages, from the environment; the variables are the fields' names."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class PagesSettings(BaseSettings):
    """Where people reach the pages."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    public_url: Annotated[
        str, Field(pattern=r"^https?://[^/\s]+$", description="The address that links lead to, without a path")
    ] = "http://localhost:8080"

    @property
    def secure(self) -> bool:
        """Whether people come by TLS, so that cookies may be bound to it."""
        return self.public_url.startswith("https://")
