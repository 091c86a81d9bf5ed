"""A real broker with TLS, SCRAM, client certificates and the generated rights: everybody works, nobody does more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.app import create_app
from api.authentication import make_key
from api.pages.live_feed import LiveFeed
from api.settings import ApiSettings, TrustSettings
from broker import acls
from database.configuration import (
    ApiKeyRow,
    ContactRow,
    DigestPreferenceRow,
    OrganizationRow,
    RuleRow,
    UnitRow,
)
from database.notifications import SmsAlertLogRow
from database.records import AlertRow
from outbox.writer import publish_contacts, publish_digest_command, publish_organizations, publish_units
from producers.kafka import ReadingsProducer
from schemas import messages as m
from schemas.processes import Process, writers
from schemas.topics import TOPICS
from tests.outbox.relays import address_of, emptied, relaying
from tests.pipeline.digest_world import environment as digest_environment
from tests.pipeline.secured_broker import Secured, environment
from tests.pipeline.test_breach_to_sms import provider_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from broker.settings import KafkaSettings
    from local.kafka import EmbeddedKafka
    from local.mailbox.client import MailboxProcess
    from local.telnyx.client import TelnyxProcess
    from tests.conftest import Eventually
    from tests.pipeline.conftest import Space, Worker

pytestmark = [pytest.mark.anyio, pytest.mark.broker, pytest.mark.postgres]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    made = Secured.make(tmp_path_factory.mktemp("secured"))
    with made.broker:
        made.add_users()
        yield made


@pytest.fixture
def kafka(secured: Secured) -> EmbeddedKafka:
    """The operator's own door: `space` makes the topics there."""
    return secured.broker


@pytest.fixture
def rights(space: Space) -> str:
    """The generated rights for the topics of this test; the prefix of their names."""
    assert acls.apply(AdminClient({"bootstrap.servers": space.bootstrap}), prefix=space.prefix) > 50
    return space.prefix


async def configure(database: AsyncEngine) -> str:
    """An organization with a unit, a contact and an order for a digest, in rows and in the outbox; a key."""
    made = make_key()
    async with AsyncSession(database) as session, session.begin():
        session.add(OrganizationRow(organization_id="acme", name="Acme"))
        await session.flush()
        session.add(UnitRow(unit_id="acme/fridge", organization_id="acme", name="Fridge"))
        session.add(
            ContactRow(
                user_id="acme/ann",
                organization_id="acme",
                name="Ann",
                phone_e164="+12025550101",
                email="ann@example.com",
            )
        )
        session.add(
            ApiKeyRow(
                key_id=made.key_id, organization_id="acme", role="ops", name="ops", secret_sha256=made.secret_sha256
            )
        )
        await session.flush()
        session.add(RuleRow(unit_id="acme/fridge", rule_id="high", limit_side="high", severity="critical", limit_c=8))
        session.add(DigestPreferenceRow(user_id="acme/ann", organization_id="acme", cadences=["daily"], timezone="UTC"))
        await publish_organizations(session, ["acme"])
        await publish_units(session, ["acme/fridge"])
        await publish_contacts(session, ["acme/ann"])
        await publish_digest_command(
            session,
            m.SendDigestNow(
                command_id="c1",
                user_id="acme/ann",
                organization_id="acme",
                cadence=m.Cadence.DAILY,
                timezone="UTC",
                display_unit="C",
                requested_at_ms=now_ms(),
            ),
        )
    return made.key


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def send_reading(settings: KafkaSettings, temperature_c: float) -> None:
    producer = ReadingsProducer(settings.librdkafka(), prefix=settings.topic_prefix)
    producer.send_batch(m.ReadingBatch("acme/fridge", [m.Reading(now_ms(), temperature_c)]))
    producer.close(20)


async def post_reading(database: AsyncEngine, kafka: KafkaSettings, key: str, temperature_c: float) -> None:
    app = create_app(ApiSettings(), address_of(database), kafka, trust=TrustSettings())
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.example.com") as client,
    ):
        body = {"unit_id": "fridge", "readings": [{"at_ms": now_ms(), "temperature_c": temperature_c}]}
        answer = await client.post("/v1/readings", json=body, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 202, answer.text


async def rows(database: AsyncEngine, kind: type[AlertRow | SmsAlertLogRow]) -> int:
    async with AsyncSession(database) as session:
        return await session.scalar(select(func.count()).select_from(kind)) or 0


async def test_every_process_works_with_its_password_and_the_generated_rights(
    secured: Secured,
    space: Space,
    rights: str,
    start_worker: Callable[..., Worker],
    telnyx: TelnyxProcess,
    mailbox: MailboxProcess,
    database: AsyncEngine,
    eventually: Eventually,
) -> None:
    def by_password(process: Process) -> KafkaSettings:
        return secured.by_password(process, rights)

    key = await configure(database)
    async with relaying(database, by_password(Process.RELAY)):
        await eventually.awaited(emptied(database), within_s=30)
    url = database.url.render_as_string(hide_password=False)
    start_worker("detection", **environment(by_password(Process.DETECTION)))
    start_worker("notifications", **environment(by_password(Process.NOTIFICATIONS)), **provider_settings(telnyx))
    start_worker("recorder", **environment(by_password(Process.RECORDER)), DATABASE_URL=url)
    start_worker("digests", **environment(by_password(Process.DIGESTS)), **digest_environment(mailbox, database))
    send_reading(by_password(Process.PRODUCER), 4.0)
    await post_reading(database, by_password(Process.API), key, 9.5)

    await eventually.awaited(lambda: telnyx.counts().accepted >= 1, within_s=90, what="the SMS")
    await eventually.awaited(lambda: rows(database, AlertRow), within_s=60, what="the alert in SQL")
    await eventually.awaited(lambda: rows(database, SmsAlertLogRow), within_s=60, what="the SMS in SQL")
    await eventually.awaited(lambda: len(space.read("digest-progress")) > 0, within_s=60, what="the digest")


async def test_a_worker_and_a_producer_work_with_certificates_alone(
    secured: Secured,
    space: Space,
    rights: str,
    start_worker: Callable[..., Worker],
    database: AsyncEngine,
    eventually: Eventually,
) -> None:
    await configure(database)
    async with relaying(database, secured.by_certificate(Process.RELAY, rights)):
        await eventually.awaited(emptied(database), within_s=30)
    start_worker("detection", **environment(secured.by_certificate(Process.DETECTION, rights)))
    send_reading(secured.by_certificate(Process.PRODUCER, rights), 9.5)
    await eventually.awaited(lambda: len(space.read("alerts")) == 1, within_s=60, what="the alert")


async def test_the_live_page_reads_with_the_rights_of_the_api(
    secured: Secured, space: Space, rights: str, eventually: Eventually
) -> None:
    feed = LiveFeed(secured.by_password(Process.API, rights), now_ms, 300_000)
    feed.start()
    try:
        await eventually.awaited(lambda: feed.reading, within_s=30)
        send_reading(secured.by_password(Process.PRODUCER, rights), 4.0)
        await eventually.awaited(lambda: "acme/fridge" in feed.units, within_s=30)
    finally:
        await feed.stop()


def refusal(settings: KafkaSettings, topic: str) -> int | None:
    """The code by which the broker refuses a record; None when it takes it."""
    codes: list[int | None] = []
    producer = Producer({**settings.librdkafka(), "message.timeout.ms": 10_000, "log_level": 0})
    try:
        producer.produce(
            topic,
            key="k",
            value="v",
            on_delivery=lambda error, _: codes.append(None if error is None else error.code()),
        )
        producer.flush(15)
    except KafkaException as error:
        return int(error.args[0].code())
    return codes[0]


@pytest.mark.parametrize("process", Process)
def test_nobody_writes_the_topic_of_another(secured: Secured, space: Space, rights: str, process: Process) -> None:
    other = next(topic for topic in TOPICS if process not in writers(topic))
    settings = secured.by_password(process, rights)
    assert refusal(settings, space.topic(other.name)) == KafkaError.TOPIC_AUTHORIZATION_FAILED
    assert space.read(other.name) == []


@pytest.mark.parametrize("who", ["wrong password", "no certificate", "another authority"])
def test_a_stranger_gets_no_connection(secured: Secured, space: Space, rights: str, who: str) -> None:
    settings = {
        "wrong password": secured.by_password(Process.DETECTION, rights, "guessed"),
        "no certificate": secured.by_certificate("detection", rights).model_copy(
            update={"ssl_cert_file": None, "ssl_key_file": None}
        ),
        "another authority": secured.by_certificate("stranger", rights),
    }[who]
    assert refusal(settings, space.topic("alerts")) is not None
    assert space.read("alerts") == []
