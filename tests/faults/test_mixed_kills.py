"""API, relay, recorder, broker and database die at random: whatever got a 2xx is there, once in effect."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import msgspec
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from api.authentication import make_key
from broker.settings import KafkaSettings
from database.configuration import ApiKeyRow, OrganizationRow, UnitRow
from database.engine import DatabaseSettings, make_engine
from database.queues import OutboxRow
from database.records import AlertRow, AlertTimelineRow
from local.child import Child, answers_http, says
from local.children import ROOT, kafka_child, postgres_child
from local.kafka import EmbeddedKafka
from local.ports import free_port
from local.postgres import EmbeddedPostgres
from local.stack import Stack
from producers.kafka import KafkaProducer
from schemas import messages as m
from schemas.identity import plain, qualified
from schemas.roles import Role
from schemas.topics import ALERT_COMMANDS, READINGS
from schemas.topics import UNITS as UNITS_TOPIC
from tests.api.topic_records import Record, records
from tests.faults.mixed_traffic import ORGANIZATION, UNITS, Traffic, names_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from tests.conftest import Eventually

pytestmark = [pytest.mark.anyio, pytest.mark.broker, pytest.mark.postgres]

VICTIMS = ("api", "relay", "recorder", "kafka", "postgres")
GAP_S = (0.8, 2.2)
FIRST_GAP_S = 2.0


@pytest.fixture(scope="module")
def anyio_backend() -> Iterator[str]:
    """Asyncio's own loop, also where a worker's module made uvloop the default: that cannot start a child as a user."""
    former = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(None)
    yield "asyncio"
    asyncio.set_event_loop_policy(former)


class System:
    """The five that die, under the supervisor that starts them again."""

    def __init__(self, folder: Path, database_folder: Path) -> None:
        self._kafka = EmbeddedKafka(folder / "kafka")
        self._postgres = EmbeddedPostgres(database_folder / f"mixed-{os.getpid()}-{free_port()}")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.database = DatabaseSettings(url=self._postgres.url)
        self.kafka = KafkaSettings(bootstrap_servers=self._kafka.bootstrap, topic_prefix="")
        self.log: list[str] = []
        self._environment = {
            "DATABASE_URL": self._postgres.url,
            "KAFKA_BOOTSTRAP_SERVERS": self._kafka.bootstrap,
            "KAFKA_TOPIC_PREFIX": "",
            "DATA_DIR": str(folder / "recorder"),
            "PYTHONPATH": str(ROOT),
        }
        both = ("topics", "schema")
        self.stack = Stack(
            [
                kafka_child(self._kafka),
                postgres_child(self._postgres),
                self._child("topics", "topics", "create", "--partitions", "4", after=("kafka",), job=True),
                self._child("schema", "db", "upgrade", after=("postgres",), job=True),
                # Alive is enough: what it needs may be away.
                self._child("api", "api", "--port", str(port), after=both, healthy=f"{self.url}/healthz"),
                self._child("relay", "relay", after=both),
                self._child("recorder", "worker", "recorder", after=both, tells="worker.ready"),
            ],
            on_line=lambda name, line: self.log.append(f"{name}: {line}"),
        )

    def _child(
        self, name: str, *arguments: str, after: tuple[str, ...], job: bool = False, healthy: str = "", tells: str = ""
    ) -> Child:
        return Child(
            name=name,
            argv=[sys.executable, "-m", "cli", *arguments],
            env=self._environment,
            folder=ROOT,
            after=after,
            job=job,
            ready=answers_http(healthy) if healthy else says(tells) if tells else None,
            ready_within_s=150,
        )

    async def make_key(self, engine: AsyncEngine) -> str:
        made = make_key()
        async with AsyncSession(engine) as session, session.begin():
            session.add(OrganizationRow(organization_id=ORGANIZATION, name="Acme Foods"))
            await session.flush()
            session.add(
                ApiKeyRow(
                    key_id=made.key_id,
                    organization_id=ORGANIZATION,
                    role=Role.ADMIN,
                    name="test",
                    secret_sha256=made.secret_sha256,
                )
            )
        return made.key

    async def storm(self, lasts_s: float, seed: int) -> None:
        """`kill -9` for one of the five that is up, again and again; each of them at least once."""
        rng = random.Random(seed)
        loop = asyncio.get_running_loop()
        end = loop.time() + lasts_s
        await asyncio.sleep(FIRST_GAP_S)
        waiting = list(VICTIMS)
        while waiting or loop.time() < end:
            rng.shuffle(waiting)
            victim = waiting.pop() if waiting else rng.choice(VICTIMS)
            # Dead already is no victim.
            await asyncio.wait_for(self.stack.ready(victim), 120)
            pid = self.stack.pid(victim)
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):  # it ended by itself in this moment
                    os.kill(pid, signal.SIGKILL)
                    self.log.append(f"killed {victim}")
            await asyncio.sleep(rng.uniform(*GAP_S))

    @property
    def kills(self) -> Counter[str]:
        return Counter(line.removeprefix("killed ") for line in self.log if line.startswith("killed "))


@pytest.fixture
async def system(tmp_path: Path, database_folder: Path) -> AsyncIterator[System]:
    it = System(tmp_path, database_folder)
    await asyncio.wait_for(it.stack.start(), 180)
    yield it
    await asyncio.wait_for(it.stack.stop(), 120)


async def survives(system: System, eventually: Eventually, lasts_s: float, seed: int) -> None:
    engine = make_engine(system.database)
    # An alert that waits at the producer is not given up while the broker is away.
    producer = KafkaProducer(system.kafka.librdkafka() | {"delivery.timeout.ms": 60_000, "log_level": 2})
    traffic = Traffic(system.url, await system.make_key(engine), producer)
    try:
        await traffic.make_units()
        await traffic.run(system.storm(lasts_s, seed))
        await asyncio.gather(*(asyncio.wait_for(system.stack.ready(name), 120) for name in VICTIMS))

        async def settled() -> bool:
            async with engine.connect() as connection:
                waiting = (await connection.execute(select(func.count()).select_from(OutboxRow))).scalar_one()
                known = select(func.count()).select_from(AlertTimelineRow).where(AlertTimelineRow.event == "triggered")
                return waiting == 0 and (await connection.execute(known)).scalar_one() >= len(traffic.promised_alerts)

        await eventually.awaited(settled, within_s=120, every_s=0.2, what="relay and recorder to catch up")
        await asyncio.to_thread(verify_kafka, system, traffic)
        await verify_sql(engine, traffic)
        assert set(system.kills) == set(VICTIMS)
        assert traffic.failed, "nothing was hit: a storm that cannot fail proves nothing"
    except BaseException:
        sys.stdout.write("\n".join(system.log[-400:]))
        raise
    finally:
        await traffic.close()
        producer.close(5)
        await engine.dispose()


def verify_kafka(system: System, traffic: Traffic) -> None:
    sent = Counter(
        reading.at_ms
        for record in records(system.kafka, READINGS)
        for reading in msgspec.json.decode(record.value or b"", type=m.ReadingBatch).readings
    )
    assert traffic.promised_readings
    assert traffic.promised_readings <= set(sent)

    by_unit: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records(system.kafka, UNITS_TOPIC):
        by_unit[record.key].append(record)
    for unit in UNITS:
        told = by_unit[qualified(ORGANIZATION, unit)]
        names = [names_of(record.value) for record in told]
        # What the relay sends a second time has the same id; without those each name is there once and in order.
        once = list(
            {record.headers["id"]: names_of(record.value) for record in by_unit[qualified(ORGANIZATION, unit)]}.values()
        )
        assert traffic.promised_names[unit]
        assert [name for name in once if name in traffic.promised_names[unit]] == traffic.promised_names[unit]
        assert len(set(once)) == len(once)
        assert set(once) - {"0"} <= set(traffic.tried_names[unit])
        assert names[-1] == once[-1]

    orders: defaultdict[str, set[str]] = defaultdict(set)
    for record in records(system.kafka, ALERT_COMMANDS):
        order = msgspec.json.decode(record.value or b"", type=m.Acknowledge)
        orders[order.alert_id].add(record.headers["id"])
    assert traffic.promised_acknowledgements
    assert set(orders) >= traffic.promised_acknowledgements
    assert all(len(ids) == 1 for ids in orders.values())


async def verify_sql(engine: AsyncEngine, traffic: Traffic) -> None:
    async with engine.connect() as connection:
        units = await connection.execute(select(UnitRow.unit_id, UnitRow.name, UnitRow.version))
        for unit, name, version in units:
            tried, promised = traffic.tried_names[plain(unit)], traffic.promised_names[plain(unit)]
            assert tried.index(name) >= tried.index(promised[-1])
            assert len(promised) <= version - 1 <= len(tried)
        rows = await connection.execute(select(AlertRow.alert_id, AlertRow.acknowledged_at))
        alerts = {row.alert_id: row.acknowledged_at for row in rows}
        assert set(alerts) == traffic.promised_alerts
        assert all(alerts[alert_id] is not None for alert_id in traffic.promised_acknowledgements)
        events = await connection.execute(
            text("SELECT alert_id, event, count(*) FROM alert_timeline GROUP BY alert_id, event")
        )
        assert {(alert_id, event, count) for alert_id, event, count in events} == {
            (alert_id, event, 1)
            for event, ids in (
                ("triggered", traffic.promised_alerts),
                ("acknowledged", traffic.promised_acknowledgements),
            )
            for alert_id in ids
        }


async def test_through_a_kill_of_each_no_promise_is_broken(system: System, eventually: Eventually) -> None:
    await survives(system, eventually, lasts_s=0, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("seed", [2, 3])
async def test_through_two_minutes_of_kills_no_promise_is_broken(
    system: System, eventually: Eventually, seed: int
) -> None:
    await survives(system, eventually, lasts_s=120, seed=seed)
