"""What a provider's error says about trying again, whoever the provider is."""

from __future__ import annotations

from enum import StrEnum


class ErrorClass(StrEnum):
    """What an error says about trying again."""

    RECIPIENT = "recipient"
    """This number cannot get it, now or later: no retry, the next person is told."""
    OPTED_OUT = "opted_out"
    """The recipient answered STOP: as RECIPIENT, and the number goes on the opt-out list."""
    MESSAGE = "message"
    """This text or request is wrong and would be refused again: no retry, ops is told."""
    CONFIGURATION = "configuration"
    """Our account, key, profile or sender: every message would fail alike. The lane pauses, no attempt is burnt."""
    TRANSIENT = "transient"
    """Try again after the usual back-off."""
    THROTTLED = "throttled"
    """Too fast, here or at a carrier: try again after a minute, or when the provider says."""
    ASK_A_PERSON = "ask_a_person"
    """A retry does not help and the cause is not ours to see: no retry, ops is told."""
    UNKNOWN = "unknown"
    """Not in the table: tried again with care."""
