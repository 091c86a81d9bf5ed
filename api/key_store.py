"""API keys as the database has them, cached for a few seconds: those that exist and those that do not."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from api.problems import not_found
from api.single_flight import SingleFlight
from api.validation_texts import nearest
from database.configuration import ApiKeyRow, OrganizationRow
from schemas.roles import Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

CACHED_KEYS = 10_000
CACHED_UNKNOWN_IDS = 10_000
# `last_used_at` is accurate to this: a write per request would cost more than the request.
USE_NOTED_EVERY_S = 60.0


class StoredKey(msgspec.Struct):
    key_id: str
    role: Role
    organization_id: str | None
    user_id: str | None
    gateway_id: str | None
    unit_id: str | None
    # Of its organization.
    readings_per_s: int | None
    secret_sha256: bytes
    ends_at: datetime | None
    loaded_at: float
    # GCRA's theoretical arrival time, on the monotonic clock.
    used_until: float = 0.0
    use_noted_at: float = float("-inf")


class KeyStore:
    """`clock` is monotonic, in seconds; a revoked key works for up to `cache_s`."""

    def __init__(
        self, engine: AsyncEngine, cache_s: float, clock: Callable[[], float], now: Callable[[], datetime]
    ) -> None:
        self._engine = engine
        self._cache_s = cache_s
        self._clock = clock
        self._now = now
        self._known: dict[str, StoredKey] = {}
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._organizations: set[str] = set()
        self._asking: SingleFlight[StoredKey | None] = SingleFlight()

    def has_proved(self, key_id: str, digest: bytes) -> bool:
        """Whether the cache, however old, has this key with this secret."""
        known = self._known.get(key_id)
        return known is not None and hmac.compare_digest(digest, known.secret_sha256)

    async def find(self, key_id: str) -> StoredKey | None:
        """The key, from the cache where that is fresh."""
        now = self._clock()
        known = self._known.get(key_id)
        if known is not None and now - known.loaded_at < self._cache_s:
            return known
        if self._unknown.get(key_id, float("-inf")) > now:
            return None
        return await self._asking.call(key_id, lambda: self._ask(key_id))

    def forget(self, key_id: str) -> None:
        """Drop a key from the cache."""
        self._known.pop(key_id, None)

    async def note_use(self, key: StoredKey) -> None:
        """Write when the key was last used; a database that does not answer is no reason to refuse the request."""
        if self._clock() - key.use_noted_at < USE_NOTED_EVERY_S:
            return
        key.use_noted_at = self._clock()
        now = self._now()
        stale = ApiKeyRow.last_used_at.is_(None) | (ApiKeyRow.last_used_at < now - timedelta(seconds=USE_NOTED_EVERY_S))
        used = update(ApiKeyRow).where(ApiKeyRow.key_id == key.key_id, stale).values(last_used_at=now)
        with suppress(OSError, DBAPIError, PoolTimeoutError):
            async with AsyncSession(self._engine) as session, session.begin():
                await session.execute(used)

    async def must_be_organization(self, organization_id: str) -> None:
        """Raises Problem (404) with the most similar id; only callers who may see all organizations may ask."""
        if organization_id in self._organizations:
            return
        async with AsyncSession(self._engine) as session:
            self._organizations = set(await session.scalars(select(OrganizationRow.organization_id)))
        if organization_id not in self._organizations:
            shown = organization_id[:100]
            raise not_found("organization", shown + nearest(shown, self._organizations))

    async def _ask(self, key_id: str) -> StoredKey | None:
        async with AsyncSession(self._engine) as session:
            row = await session.get(ApiKeyRow, key_id)
            owner = None if row is None else await session.get(OrganizationRow, row.organization_id or "")
        known = self._known.get(key_id)
        if row is None:
            self._known.pop(key_id, None)
            self._unknown[key_id] = self._clock() + self._cache_s
            if len(self._unknown) > CACHED_UNKNOWN_IDS:
                self._unknown.popitem(last=False)
            return None
        ends = [at for at in (row.expires_at, row.revoked_at) if at is not None]
        fresh = StoredKey(
            key_id=key_id,
            role=Role(row.role),
            organization_id=row.organization_id,
            user_id=row.user_id,
            gateway_id=row.gateway_id,
            unit_id=row.unit_id,
            readings_per_s=None if owner is None else owner.readings_per_s,
            secret_sha256=row.secret_sha256,
            ends_at=min(ends, default=None),
            loaded_at=self._clock(),
            used_until=known.used_until if known else 0.0,
            use_noted_at=known.use_noted_at if known else float("-inf"),
        )
        if len(self._known) >= CACHED_KEYS:
            self._known.clear()
        self._known[key_id] = fresh
        return fresh
