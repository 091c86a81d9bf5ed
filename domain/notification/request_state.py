"""How far a request to a provider is, SMS or mail, and which of its records is the one to act on."""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol


class RequestState(IntEnum):
    """From SENDING on the provider may have it."""

    NEW = 0
    SENDING = 1
    WAITING = 2
    SENT = 3
    CLOSED = 4

    @property
    def settled(self) -> bool:
        return self in (RequestState.SENT, RequestState.CLOSED)


class Known(Protocol):
    """What a ledger knows of a request."""

    @property
    def state(self) -> RequestState: ...
    @property
    def attempt(self) -> int: ...
    @property
    def redrives(self) -> int: ...


class Request(Protocol):
    """A record of the request."""

    @property
    def attempts(self) -> int: ...
    @property
    def redrives(self) -> int: ...


def may_try(known: Known, request: Request) -> bool:
    """Whether a record is the one to act on.

    A record that is read again after its retry was scheduled has fewer attempts behind it than the ledger: the retry
    will act. One that a person sent again from the dead letters starts over.
    """
    if request.redrives != known.redrives:
        return request.redrives > known.redrives
    if known.state.settled:
        return False
    return known.state is RequestState.SENDING or known.attempt <= request.attempts
