"""What the provider said to one request to send an SMS: facts only. `decisions.py` says what follows from them."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Accepted(msgspec.Struct, frozen=True):
    """The provider has the message. It is not yet delivered: a receipt tells that later."""

    provider_message_id: str
    parts: int


class Refused(msgspec.Struct, frozen=True):
    """The provider answered, and has not taken the message.

    `code` is the provider's own error code, or `http-<status>` where it named none.
    """

    code: str
    title: str
    http_status: int
    retry_after_s: float | None = None


class Silence(StrEnum):
    """Why there is no answer."""

    NOT_CONNECTED = "not_connected"
    TIMEOUT = "timeout"
    CONNECTION_LOST = "connection_lost"
    UNREADABLE = "unreadable_answer"


class Unanswered(msgspec.Struct, frozen=True):
    """No usable answer came. Unless no connection was made, the provider may have the message all the same."""

    kind: Silence
    detail: str = ""

    @property
    def may_have_arrived(self) -> bool:
        return self.kind is not Silence.NOT_CONNECTED


Answer = Accepted | Refused | Unanswered
