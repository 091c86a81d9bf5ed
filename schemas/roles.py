"""What API keys may do, in four words."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """The role of an API key; `api.keys` says which endpoint asks for which."""

    GATEWAY = "gateway"
    MEMBER = "member"
    OPS = "ops"
    ADMIN = "admin"
