"""`sms-inbound` → `opt_outs`: STOP and START by the provider's time, and from there by the outbox to `contacts`.

An opt-out belongs to a number: it holds for whoever has that number, now or later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncSession

from domain.notification.replies import Started, Stopped, understand
from outbox.writer import publish_contacts
from schemas.topics import SMS_INBOUND
from streams.recorder.rows import Incoming, Instant, SqlRow, Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection


class Wish(SqlRow, frozen=True, kw_only=True, gc=False):
    """A number answered STOP at `opted_out_at`, or START at `opted_in_at`; `via` is who said so."""

    phone_e164: str
    via: str
    opted_out_at: Instant | None = None
    opted_in_at: Instant | None = None


class Wishes:
    """Keeps the newest of each kind, in whatever order they come, and publishes the contacts with these numbers."""

    row = Wish
    table = "opt_outs"
    _learn = Statement(
        Wish,
        table,
        "WITH new_wishes AS (SELECT new.phone_e164, min(new.via) AS via,"
        # After its owner's erasure a number is known by its digest.
        " CASE WHEN EXISTS (SELECT FROM opt_outs AS known WHERE known.phone_e164 = freshtrack_hashed(new.phone_e164))"
        " THEN freshtrack_hashed(new.phone_e164) ELSE new.phone_e164 END AS kept_as,"
        " max(to_timestamp(new.opted_out_at / 1000.0::float8)) AS opted_out_at,"
        " max(to_timestamp(new.opted_in_at / 1000.0::float8)) AS opted_in_at"
        " FROM {rows} GROUP BY new.phone_e164),"
        " learned AS (INSERT INTO opt_outs (phone_e164, via, opted_out_at, opted_in_at)"
        " SELECT kept_as, via, opted_out_at, opted_in_at FROM new_wishes ORDER BY kept_as"
        " ON CONFLICT (phone_e164) DO UPDATE SET"
        " opted_out_at = greatest(opt_outs.opted_out_at, excluded.opted_out_at),"
        " opted_in_at = greatest(opt_outs.opted_in_at, excluded.opted_in_at)"
        " WHERE greatest(opt_outs.opted_out_at, excluded.opted_out_at) IS DISTINCT FROM opt_outs.opted_out_at"
        " OR greatest(opt_outs.opted_in_at, excluded.opted_in_at) IS DISTINCT FROM opt_outs.opted_in_at"
        " RETURNING phone_e164)"
        " SELECT users.user_id FROM users JOIN new_wishes USING (phone_e164)"
        " JOIN learned ON learned.phone_e164 = new_wishes.kept_as ORDER BY users.user_id",
    )

    async def write(self, connection: AsyncConnection, rows: Sequence[Wish]) -> None:
        concerned = [str(user_id) for (user_id,) in await self._learn.fetch(connection, rows)]
        async with AsyncSession(connection) as session:
            await publish_contacts(session, concerned)


SINKS = (Wishes(),)


def inbound_rows(record: Incoming) -> Sequence[SqlRow]:
    inbound = SMS_INBOUND.decode(record.value)
    match understand(inbound.text):
        case Stopped():
            return (Wish(phone_e164=inbound.phone_e164, via=inbound.via, opted_out_at=inbound.occurred_at_ms),)
        case Started():
            return (Wish(phone_e164=inbound.phone_e164, via=inbound.via, opted_in_at=inbound.occurred_at_ms),)
        case _:
            return ()
