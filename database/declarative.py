"""What every table shares: naming of constraints, UTC times, closed sets of words, conversion to message times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, ClassVar

from sqlalchemy import CheckConstraint, DateTime, LargeBinary, MetaData, Text, text
from sqlalchemy.orm import DeclarativeBase, mapped_column

if TYPE_CHECKING:
    from collections.abc import Iterable


class Row(DeclarativeBase):
    """A row of the database. Every time is `timestamptz`: one instant, whatever the session's zone."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {datetime: DateTime(timezone=True), str: Text(), bytes: LargeBinary()}


CreatedAt = Annotated[datetime, mapped_column(server_default=text("now()"))]
# Counts the changes of a row; it is the entity tag that the API hands out.
Version = Annotated[int, mapped_column(server_default=text("1"), default=1)]


def one_of(column: str, words: Iterable[str]) -> CheckConstraint:
    """A closed set of words, checked by the database too. Not a PostgreSQL enum: a new word needs no table rewrite."""
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def to_ms(at: datetime) -> int:
    """Milliseconds since 1970-01-01 UTC, as messages carry times."""
    return round(at.timestamp() * 1000)


def from_ms(at_ms: int) -> datetime:
    """The UTC time of a message's milliseconds."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)
