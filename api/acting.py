"""Who makes the present request and from where, for the audit trail, which the database writes (`audit_triggers`).

A context variable rather than a parameter: an endpoint that forgot to pass it on would be missing from the trail.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from starlette.types import Scope

READS = frozenset({"GET", "HEAD", "OPTIONS"})
_TELL = text(
    "SELECT set_config('freshtrack.actor', :actor, true), set_config('freshtrack.origin', :origin, true),"
    " set_config('freshtrack.organization', :organization, true)"
)


class Acting(NamedTuple):
    actor: str
    origin: str
    organization_id: str


_acting: ContextVar[Acting | None] = ContextVar("freshtrack_acting", default=None)


def identify(scope: Scope, actor: str, organization_id: str = "") -> None:
    """Say who acts in this request from here on; a request that only reads is nobody's act."""
    origin = scope["client"][0] if scope.get("client") else ""
    _acting.set(None if scope["method"] in READS else Acting(actor, origin, organization_id))


def nobody() -> None:
    """Begin a request: nobody has been identified yet."""
    _acting.set(None)


async def tell(session: AsyncSession) -> None:
    """Tell the database who acts, until the transaction ends."""
    if (known := _acting.get()) is not None:
        await session.execute(
            _TELL, {"actor": known.actor, "origin": known.origin, "organization": known.organization_id}
        )
