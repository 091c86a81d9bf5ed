"""What this worker needs of an SMS provider; `telnyx/` is one. A second one implements `Provider` in its own folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from domain.notification.answers import Answer, Refused, Unanswered


class WebhookIds(msgspec.Struct, frozen=True, kw_only=True):
    """What a receipt is about: parameters of the webhook's address, which comes back as it was given."""

    user: str
    request: str
    attempt: str


class Sms(msgspec.Struct, frozen=True, kw_only=True):
    """One message as the provider gets it. `ids` names it in the webhook's address, so that a receipt finds it."""

    to_e164: str
    text: str
    ids: WebhookIds | None = None

    def __repr__(self) -> str:
        """Without the number: what is printed ends in a log."""
        return f"Sms({len(self.text)} characters)"


class ProviderStatus(msgspec.Struct, frozen=True):
    """Where a message stands at the provider (`receipts.py` knows the words), with the classed error if it failed."""

    status: str
    error: Refused | None = None


class Provider(Protocol):
    """No method raises for what a network may do."""

    async def send(self, sms: Sms) -> Answer: ...

    async def status(self, provider_message_id: str) -> ProviderStatus | Refused | Unanswered:
        """Ask for a message whose receipt never came."""
        ...

    def delivery_failed(self, error_code: str | None) -> Refused:
        """The classed error of a receipt with this code, or without one."""
        ...
