"""STOP and START by SMS: numbers that opt out, and in again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from sqlalchemy import delete, func, select
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
    """Opt the number out or in as `reply` says; returns the ids of all users with it, over all organizations.

    A STOP is kept for unknown numbers too: whoever adds the number later must not text it. The row and the message to
    the workers share the caller's transaction. A START older than the STOP changes nothing: the provider repeats
    unanswered webhooks, so it may arrive late.
    """
    users = list(await session.scalars(select(ContactRow.user_id).where(ContactRow.phone_e164 == number)))
    changed = False
    match reply:
        case Stopped():
            stopped = insert(OptOutRow).values(phone_e164=number, via=VIA, opted_out_at=at).on_conflict_do_nothing()
            changed = (await session.execute(stopped.returning(OptOutRow.phone_e164))).first() is not None
        case Started():
            started = delete(OptOutRow).where(
                OptOutRow.phone_e164.in_([number, func.freshtrack_hashed(number)]), OptOutRow.opted_out_at <= at
            )
            changed = (await session.execute(started.returning(OptOutRow.phone_e164))).first() is not None
        case _:
            pass
    if changed:
        log.info("telnyx.opt_out", number=masked(number), sms_wanted=isinstance(reply, Started), contacts=len(users))
        await publish_contacts(session, users)
    return users
