"""Which version of our code runs."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


@cache
def version() -> str:
    """The project's version; an image that lacks the project's file sets `BUILD` instead."""
    try:
        return str(tomllib.loads(PROJECT.read_text())["project"]["version"])
    except OSError:
        return "unknown"
