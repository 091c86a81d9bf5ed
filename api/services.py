"""What a process of the API holds while it runs, as dependencies of its endpoints."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from api import acting, authentication
from api.authentication import Caller, Keys
from api.parameters import refuse_unknown_parameters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from collections.abc import Set as AbstractSet

    from api.health import Readiness
    from api.ingest import Ingest
    from api.pages.live_feed import LiveFeed
    from api.pages.settings import PagesSettings
    from api.settings import ApiSettings, TrustSettings
    from api.single_flight import Remembered
    from api.webhooks.telnyx.intake import TelnyxWebhooks
    from broker.settings import KafkaSettings
    from schemas.roles import Role


class Services(msgspec.Struct, frozen=True):
    """One per process. `now` is the wall clock, aware and in UTC, `clock` the monotonic one in seconds;
    `broker_answers` blocks up to the given seconds.
    """

    settings: ApiSettings
    trust: TrustSettings
    engine: AsyncEngine
    keys: Keys
    ingest: Ingest
    kafka: KafkaSettings
    telnyx: TelnyxWebhooks
    pages: PagesSettings
    live: LiveFeed
    now: Callable[[], datetime]
    clock: Callable[[], float]
    broker_answers: Callable[[float], bool]
    readiness: Remembered[Readiness]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Commits at the end, before the response is sent; an error rolls back. The audit trail knows who acts."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
            await acting.tell(session)
            yield session


def wall_clock() -> datetime:
    return datetime.now(UTC)


def monotonic() -> float:
    return time.monotonic()


def services_of(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


def _allowing(roles: AbstractSet[Role], *, unowned: bool = False) -> Callable[[Request], Awaitable[Caller]]:
    async def caller(request: Request) -> Caller:
        refuse_unknown_parameters(request)
        known = await services_of(request).keys.caller(request, roles, unowned=unowned)
        acting.identify(request.scope, known.name, known.organization_id)
        return known

    return caller


async def _operator(request: Request) -> str:
    refuse_unknown_parameters(request)
    key_id = await services_of(request).keys.operator(request)
    acting.identify(request.scope, f"key:{key_id}")
    return key_id


Used = Annotated[Services, Depends(services_of)]
Reader = Annotated[Caller, Depends(_allowing(authentication.READ))]
Configurer = Annotated[Caller, Depends(_allowing(authentication.CONFIGURE))]
ConfigurerOrOperator = Annotated[Caller, Depends(_allowing(authentication.CONFIGURE, unowned=True))]
Administrator = Annotated[Caller, Depends(_allowing(authentication.ADMINISTER))]
AdministratorOrOperator = Annotated[Caller, Depends(_allowing(authentication.ADMINISTER, unowned=True))]
Operator = Annotated[str, Depends(_operator)]
