"""The receipt of an erasure."""

from typing import Annotated

from pydantic import Field

from schemas.http.fields import Instant, PlainId, Shape


class ErasureReceipt(Shape):
    """A person was erased. Keep it: it is the proof, and does not name the person."""

    receipt_id: str
    erased_at: Instant
    erased_by: PlainId
    pseudonym: Annotated[str, Field(description="Stands in the records where the user id stood")]
    complete_by_at: Annotated[Instant, Field(description="By then also Kafka has compacted the former values away")]
    counts: Annotated[dict[str, int], Field(description="Rows changed or deleted, by table")]


class PersonExport(Shape):
    """Every row that names a person, by table. Secrets are left out."""

    user_id: str
    exported_at: Instant
    tables: dict[str, list[dict[str, object]]]
