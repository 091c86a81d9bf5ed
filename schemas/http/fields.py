"""Field types that the bodies of requests and answers share. Bodies are strict: unknown fields are refused."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from schemas.identity import plain

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$"
# No control characters: they have no place in names, and PostgreSQL cannot store NUL.
LINE_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]+$"
INT4 = 2_147_483_647


def _in_database_range(at: datetime) -> datetime:
    if not 2000 <= at.year < 9000:
        raise ValueError(f"the year {at.year} is outside 2000 to 8999")
    return at.astimezone(UTC)


Id = Annotated[str, Field(pattern=ID_PATTERN, examples=["freezer-1"], description="Letters, digits, . _ : -")]
# In answers: built from a qualified id, shown as the plain one.
PlainId = Annotated[str, BeforeValidator(lambda text: plain(text) if isinstance(text, str) else text)]
Line = Annotated[str, Field(min_length=1, max_length=200, pattern=LINE_PATTERN)]
Instant = Annotated[
    AwareDatetime,
    AfterValidator(_in_database_range),
    PlainSerializer(lambda at: at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")),
    Field(
        json_schema_extra={"type": "string", "format": "date-time", "pattern": "^[2-8][0-9]{3}-"},
        examples=["2026-03-01T12:00:00.000Z"],
    ),
]
DisplayUnit = Annotated[str, Field(pattern="^[CF]$", description="Temperatures are shown in °C or °F")]


class Shape(BaseModel):
    """A body of a request or an answer; an answer may be read from the row with the same names."""

    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)
