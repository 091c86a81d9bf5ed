"""Rows of one class, written by one statement: a column of all rows goes to the database as one array.

PostgreSQL takes about as many rows a second this way as with COPY into a table (`benchmarks/recorder.py`), and a
statement may say what happens where a row is there already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Generic, NamedTuple, Protocol, TypeVar, get_args, get_type_hints

import msgspec

from schemas.headers import Header, value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from sqlalchemy import Row as SqlAlchemyRow
    from sqlalchemy.ext.asyncio import AsyncConnection

    from schemas.topic import AnyTopic
    from streams.engine.consumer import Record


class NotYetError(Exception):
    """A sink waits for what another route records; its transaction is retried a moment later."""


class SqlRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A row to write; each field is a column of the array that its statement reads."""


# Milliseconds since 1970 in the row, an instant in the table.
Instant = Annotated[int, "to_timestamp(new.{0} / 1000.0::float8)"]
Json = Annotated[str, "new.{0}::jsonb"]

ARRAY_TYPES = {str: "text", int: "bigint", float: "float8", bool: "boolean", bytes: "bytea"}

R = TypeVar("R", bound=SqlRow)


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """A record of Kafka; `topic` is its declared name, without the prefix of an environment."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()

    @classmethod
    def of(cls, record: Record, topic: AnyTopic) -> Incoming:
        place = topic.name, record.partition, record.offset, record.timestamp
        return cls(*place, record.key, record.value, record.headers)

    @property
    def message_id(self) -> str | None:
        """The record's type and id, which are the same when a worker publishes it again; None when it has no id."""
        if not (id_ := value_of(self.headers, Header.ID)):
            return None
        kind = value_of(self.headers, Header.TYPE) or b""
        return clean(f"{kind.decode(errors='replace')}.{id_.decode(errors='replace')}")


def clean(text: str) -> str:
    """The text without what PostgreSQL cannot keep: the character NUL."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


class Sink(Protocol):
    """Writes rows of one class into one table."""

    @property
    def row(self) -> type[SqlRow]: ...
    @property
    def table(self) -> str: ...
    async def write(self, connection: AsyncConnection, rows: Sequence[Any]) -> None: ...


class Route(NamedTuple):
    """A topic, its rows, and the order in which they are written.

    Routes with the same `together` and partition write one after the other, because their rows are about the same
    thing (an alert, and its acknowledgement from another topic).
    """

    topic: AnyTopic
    rows: Callable[[Incoming], Sequence[SqlRow]]
    sinks: tuple[Sink, ...]
    together: str | None = None


class Column(NamedTuple):
    name: str
    array_type: str
    expression: str


def columns_of(row: type[SqlRow]) -> tuple[Column, ...]:
    """The columns in the order of the fields, as PostgreSQL's types say them."""
    hints = get_type_hints(row, include_extras=True)
    found = []
    for field in row.__struct_fields__:
        python_type, expression = _plain(hints[field])
        found.append(Column(field, ARRAY_TYPES[python_type], expression.format(field)))
    return tuple(found)


def _plain(hint: Any) -> tuple[type, str]:  # noqa: ANN401 - any annotation
    if isinstance(hint, type):
        return hint, "new.{0}"
    if (metadata := getattr(hint, "__metadata__", None)) is not None:
        return hint.__origin__, str(metadata[0])
    (present,) = (part for part in get_args(hint) if part is not type(None))
    return _plain(present)


class Statement(Generic[R]):
    """A sink by one statement; `{rows}` in it is the rows as a table `new`, `new.number` their order."""

    def __init__(self, row: type[R], table: str, sql: str) -> None:
        self.row = row
        self.table = table
        columns = columns_of(row)
        arrays = ", ".join(f"${number}::{column.array_type}[]" for number, column in enumerate(columns, 1))
        names = ", ".join(column.name for column in columns)
        self.sql = sql.format(rows=f"unnest({arrays}) WITH ORDINALITY AS new ({names}, number)")

    async def write(self, connection: AsyncConnection, rows: Sequence[R]) -> None:
        await connection.exec_driver_sql(self.sql, self._arrays(rows))

    async def fetch(self, connection: AsyncConnection, rows: Sequence[R]) -> Sequence[SqlAlchemyRow[Any]]:
        """For a statement that returns something."""
        return (await connection.exec_driver_sql(self.sql, self._arrays(rows))).all()

    @staticmethod
    def _arrays(rows: Sequence[R]) -> tuple[list[object], ...]:
        return tuple(map(list, zip(*map(msgspec.structs.astuple, rows), strict=True)))


def insert(
    row: type[R],
    table: str,
    *,
    on_conflict: str,
    newest_of: tuple[str, ...] = (),
    newest_by: str = "new.number DESC",
    instead: Mapping[str, str] | None = None,
    without: Collection[str] = (),
    where: str = "true",
) -> Statement[R]:
    """An INSERT of all rows.

    `newest_of` names the key of which only one row is taken, the first in the order `newest_by`; rows are then written
    in the order of the key, so that two transactions never wait for each other. `instead` gives columns another
    expression over `new`; `without` names fields that only such expressions use.
    """
    columns = [column for column in columns_of(row) if column.name not in without]
    values = ", ".join((instead or {}).get(column.name, column.expression) for column in columns)
    key = ", ".join(f"new.{name}" for name in newest_of)
    distinct, order = (f"DISTINCT ON ({key}) ", f" ORDER BY {key}, {newest_by}") if newest_of else ("", "")
    names = ", ".join(f'"{column.name}"' for column in columns)
    sql = (
        f"INSERT INTO {table} ({names}) SELECT {distinct}{values} FROM {{rows}} WHERE {where}{order}"  # noqa: S608 - constant names
        f" ON CONFLICT {on_conflict}"
    )
    return Statement(row, table, sql)
