"""A file of organizations, units, contacts and what belongs to them, read and checked before anything is sent.

    organizations:
      - organization_id: acme
        name: Acme Foods
        display_unit: F
        units:
          - unit_id: freezer-1
            name: Walk-in freezer
            rules:
              - {rule_id: too-warm, limit: high, severity: critical, limit_c: -15, clear_c: -16}
            maintenance:
              - {starts_at: 2026-03-01T02:00:00Z, ends_at: 2026-03-01T03:00:00Z, reason: Defrost}
        contacts:
          - user_id: ann
            name: Ann
            phone_e164: +12025550101
            digest: {cadences: [daily, weekly], timezone: America/New_York}
        escalation: [[ann], [bob]]

The fields are those of the HTTP interface, and so are the rules. It is plain YAML, with what surprises people left
out: a number is a number only when it is written as one, so `+12025550101` and `2026-03-01` are texts, and a name
that stands twice is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import yaml
from pydantic import Field, ValidationError

from schemas.http.contacts import ContactBody
from schemas.http.digest_preferences import DigestPreferenceBody
from schemas.http.fields import Id, Shape
from schemas.http.maintenance import MaintenanceBody
from schemas.http.organizations import OrganizationTerms
from schemas.http.units import RuleView, UnitBody
from schemas.messages import Limit, Severity

if TYPE_CHECKING:
    from pathlib import Path

Place = tuple[str | int, ...]
Plain = str | int | float | bool | None | Sequence["Plain"] | dict[str, "Plain"]

SHOWN_PROBLEMS = 20
LONGEST_WINDOW_S = 31_536_000
_NUMBERS = (
    (re.compile(r"-?(0|[1-9][0-9]*)"), int),
    (re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?"), float),
)
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}


class SeedError(ValueError):
    """The file cannot be used as it is; a line for each place, with the value, the rule and what to do."""


class SeedUnit(UnitBody):
    unit_id: Id
    maintenance: list[MaintenanceBody] = Field(default_factory=list)


class SeedContact(ContactBody):
    user_id: Id
    digest: DigestPreferenceBody | None = None


class SeedOrganization(OrganizationTerms):
    organization_id: Id
    units: list[SeedUnit] = Field(default_factory=list)
    contacts: list[SeedContact] = Field(default_factory=list)
    escalation: list[Annotated[list[Id], Field(min_length=1)]] | None = None


class SeedFile(Shape):
    organizations: Annotated[list[SeedOrganization], Field(min_length=1)]


class Lines:
    """Where each part of a file stands; `where(place)` is for people: file, line, path."""

    def __init__(self, name: str, numbers: dict[Place, int]) -> None:
        self._name = name
        self._numbers = numbers

    def where(self, place: Place) -> str:
        found = place
        while found and found not in self._numbers:
            found = found[:-1]
        path = ".".join(str(step) for step in place)
        line = self._numbers.get(found)
        return f"{self._name}{f':{line}' if line else ''}: {path}" if path else self._name


def read_seed(path: Path) -> tuple[SeedFile, Lines]:
    """Raises SeedError, also when the file is missing or no YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SeedError(f"{path} cannot be read: {error}") from error
    numbers: dict[Place, int] = {}
    lines = Lines(str(path), numbers)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = None if root is None else _plain(root, (), lines, numbers)
    except yaml.YAMLError as error:
        raise SeedError(f"{path} is no YAML: {error}") from error
    except RecursionError as error:
        raise SeedError(f"{path} refers to itself; write it without such anchors") from error
    try:
        return SeedFile.model_validate_json(json.dumps(data)), lines
    except ValidationError as error:
        problems = [f"{lines.where(part['loc'])}: {part['msg']}{_value(part['input'])}" for part in error.errors()]
        more = [f"... and {len(problems) - SHOWN_PROBLEMS} more"] if len(problems) > SHOWN_PROBLEMS else []
        raise SeedError("\n".join(problems[:SHOWN_PROBLEMS] + more)) from error


def unit_with_limits(unit_id: str, high_c: float | None, low_c: float | None, live_window_s: int) -> SeedUnit:
    """A unit whose contacts are paged above `high_c` and below `low_c`. Raises SeedError for limits that cannot be."""
    try:
        rules = [
            RuleView(rule_id=limit.value, limit=limit, severity=Severity.CRITICAL, limit_c=limit_c)
            for limit, limit_c in ((Limit.HIGH, high_c), (Limit.LOW, low_c))
            if limit_c is not None
        ]
    except ValidationError as error:
        raise SeedError(f"a limit in °C: {error.errors()[0]['msg']}{_value(error.errors()[0]['input'])}") from error
    return SeedUnit(unit_id=unit_id, name=unit_id, rules=rules, live_window_s=min(live_window_s, LONGEST_WINDOW_S))


def _value(value: object) -> str:
    return f" (is {value!r:.80})" if isinstance(value, str | int | float) else ""


def _plain(node: yaml.Node, place: Place, lines: Lines, numbers: dict[Place, int]) -> Plain:
    numbers[place] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Plain] = {}
        for key, value in node.value:
            name = str(key.value)
            if name in found:
                raise SeedError(f"{lines.where((*place, name))} stands a second time in line {key.start_mark.line + 1}")
            found[name] = _plain(value, (*place, name), lines, numbers)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*place, index), lines, numbers) for index, item in enumerate(node.value)]
    return _scalar(node)


def _scalar(node: yaml.Node) -> str | int | float | bool | None:
    text = str(node.value)
    if not isinstance(node, yaml.ScalarNode) or node.style is not None:
        return text  # quoted or a block: a text in any case
    if text in _WORDS:
        return _WORDS[text]
    for written, kind in _NUMBERS:
        if written.fullmatch(text):
            return kind(text)
    return text
