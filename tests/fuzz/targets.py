"""What takes bytes from outside, with valid messages to begin with and the errors by which it may refuse others."""

from __future__ import annotations

import asyncio
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec

from api import submissions
from api.problems import Problem
from api.webhooks.sensors import disruptive, the_things_stack
from api.webhooks.sensors.payload import PayloadError
from api.webhooks.telnyx import events
from broker.settings import KafkaSettings
from cli.seed.seed_file import SeedError, read_seed
from domain.redrive.dead_letters import kind_of, read
from producers.mqtt_payload import understand
from producers.replay import ColumnError, Format, read_csv
from schemas import messages as m
from schemas import topics as t
from schemas.headers import Header
from streams.engine.global_table import GlobalTable
from streams.recorder.routes import ROUTES
from streams.recorder.rows import Incoming
from tests.api.provider_events import ABOUT, answer_of, delivery
from tests.api.sensor_payloads import dt_event, raw, uplink
from tests.fuzz.consumers import CONSUMERS
from tests.poison import examples
from tests.streams.fakes import NOW_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from schemas.topic import AnyTopic

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the webhooks' routes answer with 400."""


class Target(NamedTuple):
    take: Callable[[bytes], object]
    corpus: Sequence[bytes]
    refusals: tuple[type[Exception], ...] = ()


def _topic(topic: AnyTopic) -> Target:
    return Target(topic.decode, examples(topic), (msgspec.MsgspecError,))


def _route(route: Any) -> Target:
    def take(value: bytes) -> object:
        headers = [(Header.ID.value, value[:4_000]), (Header.TYPE.value, value[-100:])]
        incoming = Incoming(route.topic.name, 0, 0, NOW_MS, value[:50], value, headers)
        return incoming.message_id, route.rows(incoming)

    return Target(take, examples(route.topic), (msgspec.MsgspecError,))


def _configuration(topic: AnyTopic) -> Target:
    table: GlobalTable[Any] = GlobalTable(topic, cast("type[msgspec.Struct]", topic.carries), KafkaSettings())
    return Target(lambda value: table.apply(value[:40], value), examples(topic))


def _redriven(value: bytes) -> object:
    dead = read(value)
    if dead is None:
        return None
    kind = kind_of(dead)
    return kind.facts(dead), kind.redrive(dead), kind.doubt(dead, NOW_MS)


def _csv(value: bytes) -> object:
    lines = value.decode("utf-8", errors="replace").splitlines(keepends=True)
    return list(read_csv(lines, Format(), file="readings.csv"))


def _telnyx(body: bytes) -> object:
    event = events.event_of(body)
    payload = events.payload_of(event)
    if event.event_type == "message.received":
        return m.encode(events.inbound_of(event, payload, NOW_MS))
    about = events.addressed(payload, ABOUT)
    return None if about is None else m.encode(events.receipt_of(event, payload, about, NOW_MS))


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="freshtrack-fuzz-"))


def _seed(value: bytes) -> object:
    path = _folder() / "seed.yaml"
    path.write_bytes(value)
    return read_seed(path)


SEED = b"""organizations:
- organization_id: acme
  name: Acme
  units:
  - unit_id: fridge-1
    name: Fridge
    rules:
    - {rule_id: hot, limit: high, severity: critical, limit_c: 8.0}
  contacts:
  - user_id: ann
    name: Ann
    phone_e164: "+12025550124"
    email: ann@example.com
"""
READINGS = [
    b'{"unit_id":"u","at_ms":1795000000000,"temperature_c":5.5}',
    b'{"unit_id":"u","readings":[{"at":"2026-03-01T12:00:00Z","temperature_f":41}]}',
    b'{"batches":[{"unit_id":"u","readings":[{"at_ms":1795000000000,"temperature_c":5}]}]}',
]
MQTT = [
    b"5.5",
    b'{"temperature_c":5,"at_ms":1795000000000}',
    b'[{"temperature":5,"time":"2026-03-01T12:00:00Z"}]',
    *READINGS,
]
UPLINKS = [raw(uplink({"temperature": 4.5})), raw(uplink(None, [{"air": {"temperature": 4.5}}]))]
EVENTS = [
    raw(dt_event("temperature", {"value": 4.5, "updateTime": "2026-03-01T12:00:00Z"})),
    raw(dt_event("humidity", {"temperature": 4.5, "updateTime": "2026-03-01T12:00:00Z"})),
]
CSV = [
    b"time,temperature_c\n2026-03-01T12:00:00Z,5.5\n1795000000,4\n",
    b'\xef\xbb\xbfat_ms,"temperature_c"\r\n1795000000000,"5"\r\n',
]

RECEIPTS = [raw(delivery()), raw(delivery("failed", "40001")), raw(answer_of("+12025550124", "ACK 1"))]


def targets() -> dict[str, Target]:
    found = {f"topic-{topic.name}": _topic(topic) for topic in t.TOPICS}
    found |= {f"rows-{route.topic.name}": _route(route) for route in ROUTES}
    found |= {f"table-{topic.name}": _configuration(topic) for topic in (t.UNITS, t.CONTACTS, t.ORGANIZATIONS)}
    for name, (topic, make) in CONSUMERS.items():
        found[f"flow-{name}"] = Target(_flow(make), examples(topic))
    return found | {
        "redrive": Target(_redriven, [*examples(t.READINGS_DLQ), *examples(t.SMS_DLQ), *examples(t.EMAIL_DLQ)]),
        "submission": Target(lambda body: submissions.read(body, NOW_MS), READINGS, (Problem,)),
        "mqtt": Target(
            lambda payload: understand("organization/o/site/s/unit/u/temperature", payload, arrived_ms=NOW_MS), MQTT
        ),
        "the-things-stack": Target(the_things_stack.translate, UPLINKS, (PayloadError, *NOT_JSON)),
        "disruptive": Target(disruptive.translate, EVENTS, (PayloadError, *NOT_JSON)),
        "telnyx": Target(_telnyx, RECEIPTS, (Problem,)),
        "csv": Target(_csv, CSV, (ColumnError,)),
        "seed": Target(_seed, [SEED], (SeedError,)),
    }


def _flow(make: Callable[[], Callable[[bytes], Any]]) -> Callable[[bytes], object]:
    """A flow keeps its state between records; its stand-ins keep all they get, so it is made again now and then."""
    takes: list[Callable[[bytes], Any]] = []

    def take(value: bytes) -> object:
        if not takes or len(takes) >= RECORDS_A_FLOW:
            takes[:] = [make()]
        takes.append(takes[0])
        return LOOP.run_until_complete(_limited(takes[0](value)))

    return take


async def _limited(work: Any) -> object:
    async with asyncio.timeout(5):
        return await work


RECORDS_A_FLOW = 100
LOOP = asyncio.new_event_loop()
