"""What a provider said to one message, SMS or mail: facts, already classed. `retry_decision.py` says what follows."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from domain.notification.error_class import ErrorClass  # noqa: TC001 - msgspec reads the annotation


class Accepted(msgspec.Struct, frozen=True):
    """The provider has the message. It is not yet delivered: of an SMS a receipt reports that later."""

    provider_message_id: str = ""
    parts: int = 1


class Refused(msgspec.Struct, frozen=True):
    """The provider answered and did not take the message; or a receipt says that it will not arrive.

    `code` is the provider's own error code, or one made of the protocol's status (`http-503`, `smtp-550`).
    `notify_ops`: somebody in operations must look at it.
    """

    error_class: ErrorClass
    code: str
    title: str = ""
    notify_ops: bool = False
    retry_after_s: float | None = None


class NoAnswer(StrEnum):
    """Why there is no answer."""

    NOT_CONNECTED = "not_connected"
    TIMEOUT = "timeout"
    CONNECTION_LOST = "connection_lost"
    UNREADABLE = "unreadable_answer"


class Unanswered(msgspec.Struct, frozen=True):
    """No usable answer came. Unless no connection was made, the provider may have the message all the same."""

    kind: NoAnswer
    detail: str = ""

    @property
    def may_have_arrived(self) -> bool:
        return self.kind is not NoAnswer.NOT_CONNECTED


Answer = Accepted | Refused | Unanswered
