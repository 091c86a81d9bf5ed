"""Writes what other languages need: a JSON Schema for the value of each topic, and one AsyncAPI 3.0 document.

`./freshtrack schemas` writes them into `schemas/generated/`; a test fails when the committed ones are older than the
declarations in `messages.py` and `topics.py`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cli.contracts.asyncapi import asyncapi
from schemas import messages
from schemas.topics import TOPICS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import UnionType

    from cli.contracts.examples import Json

FOLDER = Path(__file__).resolve().parents[2] / "schemas" / "generated"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def documents() -> dict[str, str]:
    """Path below `schemas/generated/` and text of every document; the same declarations give the same bytes."""
    found = {"asyncapi.json": _text(asyncapi())}
    for topic in TOPICS:
        name = _file_name(topic.carries, topic.name)
        found[f"messages/{name}.json"] = _text(_schema(topic.carries, name))
    return found


def write(folder: Path = FOLDER) -> list[str]:
    """Bring the folder up to date; returns what was written or removed, nothing when it was."""
    wanted = documents()
    differing = stale(folder, wanted)
    for name in differing:
        path = folder / name
        if name in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[name], encoding="utf-8")
        else:
            path.unlink()
    return differing


def stale(folder: Path = FOLDER, wanted: Mapping[str, str] | None = None) -> list[str]:
    """The documents that are missing, differ from the declarations, or have none any more."""
    wanted = documents() if wanted is None else wanted
    present = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.json")}
    return sorted(
        name
        for name in present.keys() | wanted.keys()
        if name not in present or name not in wanted or present[name].read_text(encoding="utf-8") != wanted[name]
    )


def _schema(carries: type | UnionType, name: str) -> dict[str, Json]:
    head: dict[str, Json] = {"$schema": DIALECT, "$id": f"urn:freshtrack:message:{name}"}
    return head | msgspec.json.schema(carries)


def _file_name(carries: type | UnionType, topic: str) -> str:
    """By the name that `messages.py` gives the struct or union, else by the topic."""
    named = next((name for name, value in vars(messages).items() if value == carries), None)
    return re.sub(r"(?<!^)(?=[A-Z])", "-", named).lower() if named else topic


def _text(document: dict[str, Json]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
