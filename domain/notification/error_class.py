"""What a provider's error says about trying again, whoever the provider is."""

from __future__ import annotations

from enum import StrEnum


class ErrorClass(StrEnum):
    """What an error says about trying again."""

    RECIPIENT = "recipient"
    """This number or address cannot get it, now or later: no retry, the next person is notified."""
    OPTED_OUT = "opted_out"
    """The recipient answered STOP or unsubscribed: as RECIPIENT, and our own list must learn it."""
    MESSAGE = "message"
    """This text or request is wrong and would be refused again: no retry, ops is notified."""
    CONFIGURATION = "configuration"
    """Our account, key, profile or sender: every message would fail alike. Sending pauses, no attempt is used."""
    UNAVAILABLE = "unavailable"
    """The provider itself is ill: every message would fail alike until it is back. No attempt is used."""
    TRANSIENT = "transient"
    """This message may succeed after the usual back-off."""
    THROTTLED = "throttled"
    """Too fast, here or at a carrier: try again after a minute, or when the provider says."""
    ASK_A_PERSON = "ask_a_person"
    """A retry does not help and we cannot see the cause: no retry, ops is notified."""
    UNKNOWN = "unknown"
    """Not in the table: tried again with care."""
