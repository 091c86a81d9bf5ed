"""An example of any message, made from its declaration: what AsyncAPI shows, and what tests check the schemas with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from msgspec import inspect

if TYPE_CHECKING:
    from msgspec import Struct

Json: TypeAlias = "str | float | bool | list[Json] | dict[str, Json] | None"

# By the field's name, the first that matches: what a type alone cannot tell. Phone numbers are reserved ones.
BY_NAME: tuple[tuple[str, Json], ...] = (
    (r"_at_ms$|^at_ms$", 1_800_000_000_000),
    (r"phone", "+12025550142"),
    (r"^email$|address$", "ada@example.com"),
    (r"^display_unit$", "C"),
    (r"^timezone$", "Europe/Berlin"),
    (r"_on$", "2026-11-02"),
    (r"^unit_id$", "harbor/vaccines"),
    (r"^organization_id$", "harbor"),
    (r"^organization_name$", "Harbor Clinic"),
    (r"^user_id$", "harbor/ada"),
    (r"^rule_id$", "too-warm"),
    (r"^gateway_id$", "gateway-1"),
    (r"^provider_message_id$|_id$", "5b1f2c1e-58f6-5a54-9b0a-6f6d2f3c7a10"),
    (r"^topic$", "readings"),
    (r"^text$", "Vaccines is at 47.1 F, limit 46.4 F, since 14:05"),
    (r"_base64$", "e30="),
    (r"_c$", 8.4),
)


class NoExampleError(TypeError):
    """A message has a field that no example is known for."""


def example_of(message_type: type[Struct]) -> dict[str, Json]:
    """A message with every field set, as JSON holds it. Raises NoExampleError naming the field."""
    value = _value(inspect.type_info(message_type), message_type.__name__, "")
    assert isinstance(value, dict)
    return value


def _value(kind: inspect.Type, where: str, name: str) -> Json:  # noqa: C901, PLR0911  # a branch for each type
    """`where` is the path to the field, for the error; `name` its name, for the table above."""
    match kind:
        case inspect.Metadata():
            return _value(kind.type, where, name)
        case inspect.UnionType():
            return _value(next(t for t in kind.types if not isinstance(t, inspect.NoneType)), where, name)
        case inspect.StructType():
            tag: dict[str, Json] = {kind.tag_field: kind.tag} if kind.tag_field else {}
            return tag | {f.encode_name: _value(f.type, f"{where}.{f.name}", f.name) for f in kind.fields}
        case inspect.EnumType():
            return str(next(iter(kind.cls)).value)
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.BoolType():
            return False
        case inspect.ListType() | inspect.VarTupleType():
            return [_value(kind.item_type, where, name)]
        case inspect.DictType():
            return {}
        case inspect.NoneType():
            return None
    named = next((value for pattern, value in BY_NAME if re.search(pattern, name)), None)
    if isinstance(kind, inspect.StrType):
        return str(named) if isinstance(named, str) else f"{name.replace('_', ' ')}"
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        return named if isinstance(named, int | float) else max(kind.ge or 0, 1)
    raise NoExampleError(f"{where} is of {kind}; say in cli/contracts/examples.py what an example of it is")


def decoded(message_type: type[Struct], example: dict[str, Json]) -> Struct:
    """The message itself; raises msgspec.ValidationError when the example is none."""
    return msgspec.convert(example, message_type)
