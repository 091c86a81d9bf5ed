"""What people answer by SMS: who they are, and whether they want any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from database.configuration import ContactRow, OptOutRow
from domain.notification.phone import masked
from domain.notification.replies import Reply, Started, Stopped
from outbox.writer import publish_contacts

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

log = structlog.get_logger(__name__)

VIA = "sms"


async def heed(session: AsyncSession, number: str, reply: Reply, at: datetime) -> list[str]:
    """Do what `reply` says about further SMS; returns the ids of all users with this number, over all organizations.

    A STOP is kept also for a number that nobody has: whoever adds it later must not text it. The opt-out and the news
    of it for the workers are one transaction, the caller's. A START that is older than the STOP changes nothing: the
    provider repeats what was not answered, and so may bring it late.
    """
    users = list(await session.scalars(select(ContactRow.user_id).where(ContactRow.phone_e164 == number)))
    changed = False
    match reply:
        case Stopped():
            stopped = insert(OptOutRow).values(phone_e164=number, via=VIA, opted_out_at=at).on_conflict_do_nothing()
            changed = (await session.execute(stopped.returning(OptOutRow.phone_e164))).first() is not None
        case Started():
            started = delete(OptOutRow).where(OptOutRow.phone_e164 == number, OptOutRow.opted_out_at <= at)
            changed = (await session.execute(started.returning(OptOutRow.phone_e164))).first() is not None
        case _:
            pass
    if changed:
        log.info("telnyx.opt_out", number=masked(number), sms_wanted=isinstance(reply, Started), contacts=len(users))
        await publish_contacts(session, users)
    return users
