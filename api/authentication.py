"""Authentication by API key, `ft.<key id>.<secret>`: who calls, what the role may do, and how often."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from api.problems import Problem, invalid
from api.single_flight import SingleFlight
from database.configuration import ApiKeyRow
from schemas.roles import Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from starlette.requests import Request

    from api.settings import ApiSettings

PREFIX = "ft"
ORGANIZATION_HEADER = "FreshTrack-Organization"
# No organization has this id: it stands for rows that name none, which only operators see.
NO_ORGANIZATION = ""

# A gateway only sends; a member reads and acknowledges; ops configures; an admin manages keys.
INGEST: Final = frozenset({Role.GATEWAY, Role.OPS, Role.ADMIN})
READ: Final = frozenset({Role.MEMBER, Role.OPS, Role.ADMIN})
CONFIGURE: Final = frozenset({Role.OPS, Role.ADMIN})
ADMINISTER: Final = frozenset({Role.ADMIN})

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="freshtrack"'}
KNOWN_KEYS = 10_000
# A burst of two seconds' worth is allowed.
BURST_S = 2.0
ROUNDING_S = 1e-6


class Made(msgspec.Struct, frozen=True):
    """A new key: its id, the stored digest of its secret, and the key itself, which is shown once."""

    key_id: str
    secret_sha256: bytes
    key: str


def make_key() -> Made:
    """An id of 128 random bits and a secret of 256."""
    key_id, secret = secrets.token_hex(16), secrets.token_urlsafe(32)
    return Made(key_id, _digest(secret), f"{PREFIX}.{key_id}.{secret}")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


class Caller(msgspec.Struct, frozen=True):
    """The calling key, its role, and the organization of the request."""

    key_id: str
    role: Role
    organization_id: str

    @property
    def name(self) -> str:
        """How records name a caller who is not a user."""
        return f"key:{self.key_id}"


class _Known(msgspec.Struct):
    role: Role
    organization_id: str | None
    secret_sha256: bytes
    ends_at: datetime | None
    loaded_at: float
    # GCRA's theoretical arrival time, on the monotonic clock.
    used_until: float = 0.0


class Keys:
    """Checks keys against the database and caches them for a few seconds. `clock` is monotonic, in seconds."""

    def __init__(
        self, engine: AsyncEngine, settings: ApiSettings, clock: Callable[[], float], now: Callable[[], datetime]
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._now = now
        self._known: dict[str, _Known] = {}
        self._asking: SingleFlight[_Known | None] = SingleFlight()

    async def caller(self, request: Request, allowed: AbstractSet[Role], *, unowned: bool = False) -> Caller:
        """The caller. Raises Problem: 401 without a valid key, 403 for another role, 429 over the rate.

        With `unowned`, a key for all organizations that chooses none asks for what belongs to NO_ORGANIZATION.
        """
        key_id, known = await self.checked(request)
        if known.role not in allowed:
            raise Problem(
                HTTPStatus.FORBIDDEN,
                f"A key with the role {known.role} may not do this; it requires {' or '.join(sorted(allowed))}.",
            )
        organization_id = known.organization_id
        if organization_id is None:
            organization_id = request.headers.get(ORGANIZATION_HEADER)
            if organization_id is None and unowned:
                organization_id = NO_ORGANIZATION
            if organization_id is None:
                raise Problem(
                    HTTPStatus.BAD_REQUEST,
                    f"This key is for all organizations: choose one with the header {ORGANIZATION_HEADER}.",
                )
            if not (organization_id.isascii() and organization_id.isprintable()):
                raise invalid(ORGANIZATION_HEADER, "not the id of an organization")
        return Caller(key_id, known.role, organization_id)

    async def operator(self, request: Request) -> str:
        """The id of a key for all organizations; raises Problem for any other key."""
        key_id, known = await self.checked(request)
        if known.organization_id is not None:
            raise Problem(HTTPStatus.FORBIDDEN, "This requires a key for all organizations.")
        return key_id

    async def checked(self, request: Request) -> tuple[str, _Known]:
        """A key that is valid now and within its rate; raises Problem otherwise."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        parts = token.strip().split(".")
        if scheme.lower() != "bearer" or len(parts) != 3 or parts[0] != PREFIX or not token.isascii():
            raise Problem(
                HTTPStatus.UNAUTHORIZED, "Send an API key in the header Authorization: Bearer KEY.", headers=CHALLENGE
            )
        _, key_id, secret = parts
        known = await self._look_up(key_id)
        # An unknown key takes the comparison too, so that the timing reveals nothing.
        expected = known.secret_sha256 if known else bytes(32)
        right = hmac.compare_digest(_digest(secret), expected)
        if known is None or not right or (known.ends_at is not None and known.ends_at <= self._now()):
            raise Problem(HTTPStatus.UNAUTHORIZED, "This API key is not valid.", headers=CHALLENGE)
        self._count(known)
        return key_id, known

    def forget(self, key_id: str) -> None:
        """Drop a key from the cache."""
        self._known.pop(key_id, None)

    async def _look_up(self, key_id: str) -> _Known | None:
        known = self._known.get(key_id)
        if known is not None and self._clock() - known.loaded_at < self._settings.key_cache_s:
            return known
        return await self._asking.call(key_id, lambda: self._ask(key_id))

    async def _ask(self, key_id: str) -> _Known | None:
        async with AsyncSession(self._engine) as session:
            row = await session.get(ApiKeyRow, key_id)
        known = self._known.get(key_id)
        if row is None:
            self._known.pop(key_id, None)
            return None
        ends = [at for at in (row.expires_at, row.revoked_at) if at is not None]
        fresh = _Known(
            role=Role(row.role),
            organization_id=row.organization_id,
            secret_sha256=row.secret_sha256,
            ends_at=min(ends, default=None),
            loaded_at=self._clock(),
            used_until=known.used_until if known else 0.0,
        )
        if len(self._known) >= KNOWN_KEYS:
            self._known.clear()
        self._known[key_id] = fresh
        return fresh

    def _count(self, known: _Known) -> None:
        """The generic cell rate algorithm; raises Problem (429) with the time to wait."""
        gateway = known.role is Role.GATEWAY
        per_s = self._settings.gateway_requests_per_s if gateway else self._settings.requests_per_s
        now = self._clock()
        used_until = max(known.used_until, now) + 1 / per_s
        wait_s = used_until - now - BURST_S
        if wait_s > ROUNDING_S:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"This key may send {per_s:g} requests a second.",
                headers={"Retry-After": str(int(wait_s) + 1)},
            )
        known.used_until = used_until
