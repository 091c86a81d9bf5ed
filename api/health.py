"""Liveness, readiness, and metrics."""

import asyncio
from http import HTTPStatus
from ipaddress import ip_address

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from api.problems import Problem, responses
from api.services import Services, Used
from database.upgrade import newest_revision, present_revision
from schemas.http.fields import Shape

router = APIRouter(tags=["operations"])

CHECK_LIMIT_S = 3.0
READY = "ready"
# No key: nothing here belongs to an organization.
OPEN = {"security": list[str]()}


class Liveness(Shape):
    status: str


class Readiness(Shape):
    """`ready` if the database answers at this version's revision, and the broker answers."""

    status: str
    database: str
    kafka: str


@router.get("/healthz", openapi_extra=OPEN)
async def healthz() -> Liveness:
    """The process is alive."""
    return Liveness(status="ok")


@router.get(
    "/readyz",
    openapi_extra=OPEN,
    responses={503: {"model": Readiness, "description": "The database or the broker is unavailable"}},
)
async def readyz(services: Used, response: Response) -> Readiness:
    """Whether requests can be served; a load balancer should send none while this is 503."""
    readiness = await services.readiness.call(lambda: _readiness(services))
    response.status_code = HTTPStatus.OK if readiness.status == READY else HTTPStatus.SERVICE_UNAVAILABLE
    return readiness


async def _readiness(services: Services) -> Readiness:
    database, kafka = await asyncio.gather(_database(services), _kafka(services))
    return Readiness(status=READY if database == kafka == "ok" else "not ready", database=database, kafka=kafka)


def _limit_s(services: Services) -> float:
    return min(CHECK_LIMIT_S, services.settings.time_limit_s / 2)


async def _database(services: Services) -> str:
    try:
        async with asyncio.timeout(_limit_s(services)), services.engine.connect() as connection:
            await connection.execute(select(1))
            revision = await connection.run_sync(present_revision)
    except (OSError, DBAPIError, PoolTimeoutError):
        return "does not answer"
    needed = newest_revision()
    return "ok" if revision == needed else f"has revision {revision}, needs {needed}: run freshtrack db upgrade"


async def _kafka(services: Services) -> str:
    try:
        async with asyncio.timeout(_limit_s(services)):
            answers = await asyncio.to_thread(services.broker_answers, _limit_s(services) * 0.8)
    except TimeoutError:
        answers = False
    return "ok" if answers else "does not answer"


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


@router.get(
    "/metrics",
    openapi_extra=OPEN,
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, **responses(403)},
)
async def metrics(request: Request, services: Used) -> Response:
    """For Prometheus on this machine, or anywhere where API_METRICS_OPEN is set."""
    address = request.client.host if request.client else ""
    if not (services.settings.metrics_open or _is_loopback(address)):
        raise Problem(HTTPStatus.FORBIDDEN, "Metrics are for this machine; API_METRICS_OPEN=true opens them to all.")
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
