"""The application: `create_app` assembles it; nothing connects until a request needs it."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api import (
    alert_commands,
    alerts,
    api_keys,
    audit,
    contacts,
    dead_letters,
    digest_preferences,
    digests,
    escalation,
    health,
    maintenance,
    organizations,
    personal_data,
    problems,
    readings,
    rules,
    sms_log,
    sms_rerun,
    units,
    unsubscribe,
)
from api.authentication import Keys
from api.edge import Edge
from api.ingest import Ingest
from api.pages import routes as pages
from api.pages.live_feed import LiveFeed
from api.pages.settings import PagesSettings
from api.services import Services, monotonic, wall_clock
from api.settings import TrustSettings
from api.single_flight import Remembered
from api.webhooks.sensors import routes as sensors
from api.webhooks.telnyx import routes as telnyx
from api.webhooks.telnyx.intake import TelnyxWebhooks
from database.declarative import to_ms
from database.engine import make_engine
from database.upgrade import newest_revision
from producers.errors import NotDeliveredError
from producers.kafka import ReadingsProducer
from schemas.http.problems import ProblemBody
from schemas.messages.reading_bounds import FUTURE_MS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from api.settings import ApiSettings
    from broker.settings import KafkaSettings
    from database.engine import DatabaseSettings

ROUTERS = (
    readings.router,
    organizations.router,
    units.router,
    rules.router,
    maintenance.router,
    contacts.router,
    personal_data.router,
    escalation.router,
    digest_preferences.router,
    digests.router,
    alerts.router,
    alert_commands.router,
    sms_log.router,
    dead_letters.router,
    sms_rerun.router,
    api_keys.router,
    audit.router,
    telnyx.router,
    sensors.router,
    unsubscribe.router,
    health.router,
    *pages.ROUTERS,
)
SECURITY = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, `ft.ID.SECRET`, made by `freshtrack key create` or POST /v1/api-keys.",
    }
}


def create_app(
    settings: ApiSettings,
    database: DatabaseSettings,
    kafka: KafkaSettings,
    *,
    trust: TrustSettings | None = None,
    now: Callable[[], datetime] = wall_clock,
    clock: Callable[[], float] = monotonic,
) -> FastAPI:
    """`now` is the wall clock (aware, UTC), `clock` the monotonic one in seconds.

    Without `trust`, it is read from the environment.
    """
    running = partial(
        _running,
        settings=settings,
        database=database,
        kafka=kafka,
        trust=trust or TrustSettings(),
        now=now,
        clock=clock,
    )
    app = FastAPI(
        title="FreshTrack Stream",
        version="1",
        summary="Cold-chain temperature monitoring: readings in, alerts out.",
        lifespan=running,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    for router in ROUTERS:
        app.include_router(router)
    app.state.routes = [route for router in ROUTERS for route in router.routes]
    problems.install(app)
    pages.install(app)
    app.add_middleware(Edge, settings=settings)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _running(
    app: FastAPI,
    *,
    settings: ApiSettings,
    database: DatabaseSettings,
    kafka: KafkaSettings,
    trust: TrustSettings,
    now: Callable[[], datetime],
    clock: Callable[[], float],
) -> AsyncIterator[None]:
    """What the process holds while it runs."""
    newest_revision()  # reads files: do it before the first request to /readyz
    engine = make_engine(database)
    producer = _producer(settings, kafka)
    live = LiveFeed(kafka, lambda: to_ms(now()), FUTURE_MS)
    app.state.services = Services(
        settings=settings,
        trust=trust,
        engine=engine,
        keys=Keys(engine, settings, clock, now),
        ingest=Ingest(engine, producer, settings, clock),
        kafka=kafka,
        telnyx=TelnyxWebhooks(engine, producer, trust.telnyx_public_key, clock, now),
        pages=PagesSettings(),
        live=live,
        now=now,
        clock=clock,
        broker_answers=_broker_check(kafka),
        readiness=Remembered(settings.ready_cache_s, clock),
    )
    try:
        yield
    finally:
        await live.stop()
        # Whoever sent what is left got 503.
        with suppress(NotDeliveredError):
            producer.close(settings.delivery_limit_s)
        await engine.dispose()


def _producer(settings: ApiSettings, kafka: KafkaSettings) -> ReadingsProducer:
    return ReadingsProducer(
        kafka.librdkafka()
        | {
            "delivery.timeout.ms": round(settings.delivery_limit_s * 1000),
            "linger.ms": 2,
            # The API bounds bodies itself; this bounds what their records take in librdkafka.
            "queue.buffering.max.kbytes": max(1_024, 2 * settings.unsent_limit_bytes // 1_024),
        },
        prefix=kafka.topic_prefix,
    )


def _broker_check(kafka: KafkaSettings) -> Callable[[float], bool]:
    admin = AdminClient(kafka.librdkafka(), logger=logging.getLogger("freshtrack.librdkafka"))

    def answers(limit_s: float) -> bool:
        try:
            admin.list_topics(timeout=limit_s)
        except KafkaException:
            return False
        return True

    return answers


def _openapi(app: FastAPI) -> dict[str, object]:
    """FastAPI's own document, with the msgspec shapes and the security scheme."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        components = document.setdefault("components", {})
        components.setdefault("schemas", {}).update(readings.COMPONENTS)
        components["schemas"].setdefault("ProblemBody", ProblemBody.model_json_schema())
        components["securitySchemes"] = SECURITY
        document["security"] = [{"key": []}]
        for path, operations in document["paths"].items():
            for operation in operations.values():
                if path.startswith("/v1/") and "requestBody" in operation:
                    # What the edge answers before the endpoint sees the body.
                    for status, response in problems.documented(413, 415).items():
                        operation["responses"].setdefault(str(status), response)
        app.openapi_schema = document
    return app.openapi_schema
