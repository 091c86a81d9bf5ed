"""What validators find wrong, in our words: theirs name terms of Python and of libraries, which clients do not know.

A kind of error without a sentence of its own "is not valid".
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

from schemas.http.contacts import PHONE_PATTERN
from schemas.http.fields import ID_PATTERN, LINE_PATTERN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from msgspec import DecodeError

OTHER = "is not valid"
PATTERNS = {
    ID_PATTERN: "must be letters, digits and . _ : - only, at most 100, beginning with a letter or a digit",
    LINE_PATTERN: "must be one line without control characters",
    PHONE_PATTERN: "must be a phone number in the form +12025550101",
    "^[CF]$": "must be C or F",
}
INSTANT = "must be a time in ISO 8601 with a zone, such as 2026-03-01T12:00:00Z"
# By pydantic's type of error; the context has the limits.
SENTENCES: Mapping[str, str | Callable[[Mapping[str, Any]], str]] = {
    "missing": "is missing",
    "extra_forbidden": "there is no such field",
    "string_type": "must be text",
    "string_too_short": lambda found: f"must have at least {found['min_length']} characters",
    "string_too_long": lambda found: f"may have at most {found['max_length']} characters",
    "string_pattern_mismatch": lambda found: PATTERNS.get(found["pattern"], "has another form than this takes"),
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "is too large",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than": lambda found: f"must be more than {found['gt']:g}",
    "greater_than_equal": lambda found: f"must be at least {found['ge']}",
    "less_than": lambda found: f"must be less than {found['lt']}",
    "less_than_equal": lambda found: f"must be at most {found['le']}",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "too_short": lambda found: f"must have at least {found['min_length']} items",
    "too_long": lambda found: f"may have at most {found['max_length']} items",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
    "datetime_type": INSTANT,
    "datetime_parsing": INSTANT,
    "datetime_from_date_parsing": INSTANT,
    "datetime_object_invalid": INSTANT,
    "timezone_aware": INSTANT,
    "json_invalid": "is not JSON",
    # Our own validators raise ValueError with a sentence for the client.
    "value_error": lambda found: str(found["error"]),
}
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "object": "an object",
    "array": "a list",
    "bool": "true or false",
    "datetime": "a time in ISO 8601",
    "null": "null",
}


class _Rule(NamedTuple):
    pattern: re.Pattern[str]
    sentence: Callable[[re.Match[str]], str]


def _kinds(listed: str) -> str:
    return " or ".join(KINDS.get(kind.strip(), kind.strip()) for kind in listed.split("|"))


def _bound(sign: str) -> str:
    return "least" if sign == ">=" else "most"


def _counted(kind: str) -> str:
    return "characters" if kind == "str" else "items"


# By msgspec's text, which is all that its errors have.
RULES = (
    _Rule(re.compile(r"Object missing required field `(.+?)`"), lambda found: f"{found[1]} is missing"),
    _Rule(re.compile(r"Object contains unknown field `(.+?)`"), lambda found: f"there is no field {found[1]}"),
    _Rule(
        re.compile(r"Expected `(.+?)` of length (>=|<=) (\d+)"),
        lambda found: f"must have at {_bound(found[2])} {found[3]} {_counted(found[1])}",
    ),
    _Rule(
        re.compile(r"Expected `(.+?)` (>=|<=) (\S+)"),
        lambda found: f"must be at {_bound(found[2])} {found[3]}",
    ),
    _Rule(re.compile(r"Expected `(.+?)`, got `(.+?)`"), lambda found: f"must be {_kinds(found[1])}"),
    _Rule(re.compile(r"RFC3339|timezone"), lambda _: INSTANT),
)


def nearest(given: object, known: Iterable[str]) -> str:
    """`; did you mean …?` where something similar exists, else nothing."""
    similar = get_close_matches(str(given)[:100], list(known), n=1)
    return f"; did you mean {similar[0]}?" if similar else ""


def sentence(kind: str, context: Mapping[str, Any], given: object) -> str:
    """What is wrong by pydantic's type of error and its context."""
    if kind in ("enum", "literal_error"):
        known = re.findall(r"'([^']*)'", context["expected"])
        shown = f"{given[:60]!r} is unknown; " if isinstance(given, str) else ""
        return f"{shown}use {', '.join(known[:-1])}{' or ' if known[:-1] else ''}{known[-1]}{nearest(given, known)}"
    found = SENTENCES.get(kind, OTHER)
    return found if isinstance(found, str) else found(context)


def worded(error: DecodeError | ValueError | RecursionError) -> str:
    """What is wrong by msgspec's text, with its place as `/a/b/0: …`."""
    text, pointer = split(error)
    return f"{pointer}: {text}" if pointer else text


def split(error: DecodeError | ValueError | RecursionError) -> tuple[str, str]:
    """What is wrong, and the JSON pointer to it; msgspec writes "Expected `str`, got `int` - at `$.a[0]`"."""
    detail, _, path = str(error).partition(" - at `$")
    pointer = path.rstrip("`").replace(".", "/").replace("[", "/").replace("]", "")
    for rule in RULES:
        if (found := rule.pattern.search(detail)) is not None:
            return rule.sentence(found), pointer
    return OTHER, pointer
