"""A recipient's copy of a rendered digest, or why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from domain.digest.unsubscribe import token
from domain.notification.decisions import Cancelled, Dead, DeadReason, Deferred
from domain.notification.suppression import mail_suppression
from streams.digests.report.render import TooLongError
from streams.digests.report.rendered_digest import AddressError, Mail, Mailbox, RenderedDigest, copy_for
from streams.engine.database_away import is_away

if TYPE_CHECKING:
    from schemas import messages as m
    from streams.engine.interfaces import Clock, Entries

LOOK_AGAIN_MS = 60_000


class RenderedDigests(Protocol):
    async def rendered(self, job_id: str, display_unit: str) -> RenderedDigest | None: ...


class Links(msgspec.Struct, frozen=True):
    """Where a mail's links lead: `public_url` is the API's address as recipients reach it."""

    public_url: str
    secret: bytes

    def unsubscribe(self, user_id: str, cadence: m.Cadence) -> str:
        return f"{self.public_url}/unsubscribe/{token(self.secret, user_id, cadence)}"


class Copies:
    def __init__(
        self,
        digests: RenderedDigests,
        contacts: Entries[m.Contact],
        preferences: Entries[m.DigestPreference],
        sender: Mailbox,
        links: Links,
        now_ms: Clock,
    ) -> None:
        self._digests = digests
        self._contacts = contacts
        self._preferences = preferences
        self._sender = sender
        self._links = links
        self._now_ms = now_ms

    async def make(self, request: m.EmailRequest) -> Mail | Cancelled | Deferred | Dead:
        contact = self._contacts.get(request.user_id)
        if suppressed := mail_suppression(request, contact, self._preferences.get(request.user_id)):
            return suppressed
        assert contact is not None
        assert contact.email is not None
        try:
            rendered = await self._digests.rendered(request.job_id, request.display_unit)
        except TooLongError as error:
            return Dead(DeadReason.MESSAGE, "too_long", str(error), notify_ops=True)
        except Exception as error:
            if not is_away(error):
                raise
            return Deferred(self._now_ms() + LOOK_AGAIN_MS, "database_away", repr(error).partition("\n")[0][:500])
        if rendered is None:
            why = f"the rendered digest of job {request.job_id} is no longer stored"
            return Dead(DeadReason.NO_LETTER, "no_letter", why, notify_ops=True)
        try:
            return copy_for(
                rendered,
                mail_id=request.request_id,
                sender=self._sender,
                recipient=Mailbox(contact.email, contact.name),
                unsubscribe_url=self._links.unsubscribe(request.user_id, request.cadence),
            )
        except AddressError as error:
            return Dead(DeadReason.BAD_ADDRESS, "bad_address", str(error))
