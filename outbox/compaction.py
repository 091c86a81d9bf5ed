"""Lets the broker compact away what was deleted, also in topics in which nobody writes.

A log's last segment is never compacted, and it closes only when a record comes behind it. Without one, the former
values of a deleted person stay readable for as long as nobody changes a contact of the same partition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncSession

from outbox.writer import publish_tombstones
from schemas.topics import CONTACTS, DIGEST_PREFERENCES

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

PERSONAL = (CONTACTS, DIGEST_PREFERENCES)
# Of nobody: no id has a blank. So many that every partition gets one (a test counts up to 24 partitions).
KEYS = tuple(f"close segment {number}" for number in range(256))


async def close_segments(engine: AsyncEngine) -> None:
    """Enqueue tombstones of keys that never existed, for every partition of the topics with personal data."""
    for topic in PERSONAL:
        async with AsyncSession(engine) as session, session.begin():
            await publish_tombstones(session, topic, KEYS)
