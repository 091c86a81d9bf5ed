"""What a person did about a dead letter."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from schemas.messages.fields import AtMs, Id


class DeadLetterSettled(Struct, frozen=True, kw_only=True, tag_field="type", tag="dead_letter_settled"):
    """A dead letter was sent again; key: `letter_id`. It is not sent again a second time."""

    letter_id: Annotated[str, Meta(min_length=1, max_length=200, description="TOPIC/PARTITION/OFFSET of the letter")]
    by: Annotated[str, Meta(min_length=1, max_length=200)]
    at_ms: AtMs
    sent_to: Annotated[str, Meta(description="The topic")]
    message_id: Id
    redrives: Annotated[int, Meta(ge=1, description="How often it was sent again, this time counted")]
