"""Authentication by API key, `ft.<key id>.<secret>`: who calls, what the role may do, and how often."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec

from api.failed_keys import FailedKeys
from api.key_store import KeyStore, StoredKey
from api.problems import Problem
from schemas.identity import qualified
from schemas.roles import Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncEngine
    from starlette.requests import Request
    from starlette.types import Scope

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
KEY_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
# Where an authenticated request keeps its key: the body's gate and the endpoint check the same request.
CHECKED = "freshtrack.key"
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
    """The calling key, its role, the organization of the request, and the contact who uses the key, if any."""

    key_id: str
    role: Role
    organization_id: str
    user_id: str | None = None
    # A device's key sends readings of the units of one gateway, or of one unit.
    gateway_id: str | None = None
    unit_id: str | None = None
    readings_per_s: int | None = None

    @property
    def name(self) -> str:
        """How records name the caller."""
        return self.user_id or f"key:{self.key_id}"

    def qualified(self, plain_id: str) -> str:
        """The id of a unit or a contact of the organization as tables and messages have it."""
        return qualified(self.organization_id, plain_id)


class Keys:
    """Authenticates requests. `clock` is monotonic, in seconds."""

    def __init__(
        self, engine: AsyncEngine, settings: ApiSettings, clock: Callable[[], float], now: Callable[[], datetime]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._now = now
        self._store = KeyStore(engine, settings.key_cache_s, clock, now)
        self._failed = FailedKeys(settings.failed_keys_per_min, clock)

    async def caller(self, request: Request, allowed: AbstractSet[Role], *, unowned: bool = False) -> Caller:
        """The caller. Raises Problem: 401 without a valid key, 403 for another role, 429 over the rate.

        With `unowned`, a key for all organizations that chooses none asks for what belongs to NO_ORGANIZATION.
        """
        known = await self.checked(request.scope)
        if known.role not in allowed:
            raise Problem(
                HTTPStatus.FORBIDDEN,
                f"A key with the role {known.role} may not do this; it requires {' or '.join(sorted(allowed))}.",
            )
        organization_id = known.organization_id
        if organization_id is None:
            organization_id = request.headers.get(ORGANIZATION_HEADER)
            if organization_id is None and unowned:
                return Caller(known.key_id, known.role, NO_ORGANIZATION, known.user_id)
            if organization_id is None:
                raise Problem(
                    HTTPStatus.BAD_REQUEST,
                    f"This key is for all organizations: choose one with the header {ORGANIZATION_HEADER}.",
                )
            await self._store.must_be_organization(organization_id)
        return Caller(
            known.key_id,
            known.role,
            organization_id,
            known.user_id,
            known.gateway_id,
            known.unit_id,
            known.readings_per_s,
        )

    async def operator(self, request: Request) -> str:
        """The id of a key for all organizations; raises Problem for any other key."""
        known = await self.checked(request.scope)
        if known.organization_id is not None:
            raise Problem(HTTPStatus.FORBIDDEN, "This requires a key for all organizations.")
        return known.key_id

    async def checked(self, scope: Scope) -> StoredKey:
        """The request's key, valid now and within its rate; raises Problem otherwise. Each request counts once."""
        known: StoredKey | None = scope.get(CHECKED)
        if known is None:
            known = scope[CHECKED] = await self._check(scope)
        return known

    def forget(self, key_id: str) -> None:
        """Drop a key from the cache."""
        self._store.forget(key_id)

    async def proven(self, scope: Scope, key: str) -> StoredKey:
        """The key that a form brought, under the rules of those in headers."""
        return await self._prove(scope, *_read_key(key))

    async def _check(self, scope: Scope) -> StoredKey:
        return await self._prove(scope, *_presented(scope))

    async def _prove(self, scope: Scope, key_id: str, digest: bytes) -> StoredKey:
        address = scope["client"][0] if scope.get("client") else ""
        # A key that has proved itself is served whatever else comes from its address.
        if not self._store.has_proved(key_id, digest):
            self._failed.refuse_if_too_many(address)
        known = await self._store.find(key_id)
        # An unknown key takes the comparison too, so that the timing reveals nothing.
        right = hmac.compare_digest(digest, known.secret_sha256 if known else bytes(32))
        if known is None or not right or (known.ends_at is not None and known.ends_at <= self._now()):
            self._failed.count(address)
            raise Problem(HTTPStatus.UNAUTHORIZED, "This API key is not valid.", headers=CHALLENGE)
        self._count(known)
        await self._store.note_use(known)
        return known

    def _count(self, known: StoredKey) -> None:
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


def _presented(scope: Scope) -> tuple[str, bytes]:
    """The id and the secret's digest; raises Problem for anything that does not have the form of a key."""
    header = next((value for name, value in scope["headers"] if name == b"authorization"), b"").decode("latin-1")
    scheme, _, token = header.partition(" ")
    return _read_key(token.strip() if scheme.lower() == "bearer" else "")


def _read_key(key: str) -> tuple[str, bytes]:
    parts = key.split(".")
    formed = len(parts) == 3 and parts[0] == PREFIX and key.isascii()
    if not formed or KEY_ID.fullmatch(parts[1]) is None:
        raise Problem(
            HTTPStatus.UNAUTHORIZED, "Send an API key in the header Authorization: Bearer KEY.", headers=CHALLENGE
        )
    return parts[1], _digest(parts[2])
