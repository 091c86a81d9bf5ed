"""Until when everything that was published is in SQL.

The recorder asks the broker again and again, at a time of its own clock, where a partition ends. Once its rows reach
up to there, that time is the partition's watermark. So the promise is: **whatever the broker had acknowledged before
`recorded_until` can be read from the tables**, and nothing is promised about what came later, though some of it may be
there. A record's own timestamp plays no part in it, so a clock that is wrong at a producer does no harm; the clocks of
the recorder and of who asks must agree as well as NTP lets them.

Watermarks only ever rise. They stand still while no recorder runs, and while the database is away; on an idle topic
they follow the clock by about two seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import Mapped, mapped_column

from database.declarative import Row
from schemas.topics import UNIT_AGGREGATES

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    from schemas.topic import AnyTopic

NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class RecorderWatermarkRow(Row):
    """Until when everything of a partition is in SQL."""

    __tablename__ = "recorder_watermarks"

    topic: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(primary_key=True)
    recorded_until: Mapped[datetime]


async def recorded_until(connection: AsyncConnection | AsyncSession, topic: AnyTopic = UNIT_AGGREGATES) -> datetime:
    """The time up to which all partitions of `topic` are recorded; `NEVER` while one of them was not looked at yet.

    A recorder gives every partition a row, of `NEVER`, before it raises one.
    """
    lowest = select(func.min(RecorderWatermarkRow.recorded_until)).where(RecorderWatermarkRow.topic == topic.name)
    until: datetime | None = await connection.scalar(lowest)
    return until or NEVER
