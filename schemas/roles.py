"""Roles of API keys."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """The role of an API key; `api.authentication` says which endpoint asks for which."""

    GATEWAY = "gateway"
    MEMBER = "member"
    OPS = "ops"
    ADMIN = "admin"
