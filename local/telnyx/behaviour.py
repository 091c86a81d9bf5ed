"""How the fake answers: well by default, else as a test orders, for everybody or for one number."""

from __future__ import annotations

from collections import deque
from typing import Annotated, Literal

from msgspec import Meta, Struct

EventType = Literal["message.sent", "message.finalized"]


class Behaviour(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to a message. Every field left out means "as Telnyx does on a good day"."""

    status: Annotated[int, Meta(ge=400, le=599, description="Refuse with this HTTP status")] | None = None
    code: Annotated[str | None, Meta(description="Refuse with this Telnyx error code; the status follows from it")] = (
        None
    )
    title: str = "Ordered by a test"
    retry_after_s: Annotated[float, Meta(ge=0, description="The header Retry-After of a refusal")] | None = None
    ratelimit_reset_s: Annotated[float, Meta(ge=0, description="The header x-ratelimit-reset")] | None = None
    delay_ms: Annotated[int, Meta(ge=0, description="Wait before the answer")] = 0
    answer: Annotated[
        Literal["normal", "hang", "drop"],
        Meta(description="hang: never answer; drop: close the connection instead of an answer"),
    ] = "normal"
    accept: Annotated[bool, Meta(description="With hang or drop: whether the message is sent all the same")] = True
    delivery: Annotated[
        Literal["delivered", "delivery_failed", "sending_failed", "delivery_unconfirmed", "expired"],
        Meta(description="The final status of an accepted message"),
    ] = "delivered"
    delivery_code: Annotated[str | None, Meta(description="The error code of a delivery that failed")] = None
    lose: Annotated[tuple[EventType, ...], Meta(description="Webhooks that never leave")] = ()
    sent_after_ms: Annotated[int, Meta(ge=0)] = 5
    finalized_after_ms: Annotated[int, Meta(ge=0, description="Counted from message.sent")] = 30
    times: Annotated[int, Meta(ge=1, description="For so many messages; for all when null")] | None = None

    @property
    def refuses(self) -> bool:
        return self.status is not None or self.code is not None


class Orders(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /control/behaviour`: behaviours in turn, each for its `times`, the last without an end."""

    number: Annotated[str | None, Meta(description="Only messages to this number; everybody when null")] = None
    behaviours: list[Behaviour]


GOOD_DAY = Behaviour()


class Script:
    """Which behaviour the next message meets. An order for its number goes before the order for everybody."""

    def __init__(self) -> None:
        self._turns: dict[str | None, deque[tuple[Behaviour, int | None]]] = {}

    def order(self, orders: Orders) -> None:
        """Replaces what was ordered for that number."""
        self._turns[orders.number] = deque((behaviour, behaviour.times) for behaviour in orders.behaviours)

    def clear(self) -> None:
        self._turns.clear()

    def next_for(self, number: str) -> Behaviour:
        """Uses up one of its `times`."""
        for key in (number, None):
            turns = self._turns.get(key)
            if not turns:
                continue
            behaviour, left = turns[0]
            if left is not None:
                if left == 1:
                    turns.popleft()
                else:
                    turns[0] = (behaviour, left - 1)
            return behaviour
        return GOOD_DAY
