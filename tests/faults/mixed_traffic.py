"""Mixed traffic on a system whose parts die: readings, configuration and acknowledgements, and what was answered.

Each client goes on whatever happens: an answer that is no 2xx, or none, is remembered as open and not as a promise.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from producers.errors import NotDeliveredError
from schemas import messages as m
from schemas.topics import ALERTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from producers.kafka import KafkaProducer

ORGANIZATION = "acme"
UNITS = ("fridge", "freezer", "truck")
AT_MS = 1_772_366_400_000
PAUSE_S = 0.02
AFTER_TROUBLE_S = 0.1
ENDING_S = 120.0


def alert(number: int) -> m.AlertTriggered:
    return m.AlertTriggered(
        alert_id=f"alert-{number}",
        unit_id=UNITS[number % len(UNITS)],
        organization_id=ORGANIZATION,
        rule_id="high",
        kind=m.AlertKind.TEMPERATURE_HIGH,
        severity=m.Severity.CRITICAL,
        started_at_ms=AT_MS + number,
        at_ms=AT_MS + number,
        temperature_c=9.0,
        limit_c=8.0,
    )


class Traffic:
    """`promised_*` holds what got a 2xx; `tried_names` also what may have happened or not."""

    def __init__(self, url: str, key: str, producer: KafkaProducer) -> None:
        self._client = httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=20, trust_env=False
        )
        self._producer = producer
        self._over = asyncio.Event()
        self._alerts: asyncio.Queue[int] = asyncio.Queue()
        self.promised_readings: set[int] = set()
        self.promised_names: dict[str, list[str]] = {unit: [] for unit in UNITS}
        self.tried_names: dict[str, list[str]] = {unit: [] for unit in UNITS}
        self.promised_alerts: set[str] = set()
        self.promised_acknowledgements: set[str] = set()
        self.failed = 0

    async def run(self, storm: Awaitable[None]) -> None:
        """Traffic for as long as the storm lasts; acknowledgements that were begun are brought to their end."""
        clients: list[Callable[[], Coroutine[None, None, None]]] = [
            self._send_readings,
            self._publish_alerts,
            self._acknowledge,
            *(functools.partial(self._rename, unit) for unit in UNITS),
        ]
        async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client())
            await storm
            self._over.set()
            limit.reschedule(asyncio.get_running_loop().time() + ENDING_S)

    async def close(self) -> None:
        await self._client.aclose()

    async def make_units(self) -> None:
        for unit in UNITS:
            answer = await self._client.post("/v1/units", json={"unit_id": unit, "name": "0"})
            answer.raise_for_status()

    async def _send_readings(self) -> None:
        for number in itertools.count():
            body = {"unit_id": UNITS[number % len(UNITS)], "at_ms": AT_MS + number, "temperature_c": 4.0}
            answer = await self._ask("POST", "/v1/readings", body)
            if answer is not None and answer.status_code == HTTPStatus.ACCEPTED and answer.json()["accepted"] == 1:
                self.promised_readings.add(AT_MS + number)
            if await self._is_over(answer):
                return

    async def _rename(self, unit: str) -> None:
        for number in itertools.count(1):
            name = f"{unit} {number}"
            self.tried_names[unit].append(name)
            answer = await self._ask("PUT", f"/v1/units/{unit}", {"name": name})
            if answer is not None and answer.is_success:
                self.promised_names[unit].append(name)
            if await self._is_over(answer):
                return

    async def _publish_alerts(self) -> None:
        """As detection does, whose topic this is: the same record again until the broker has it."""
        for number in itertools.count():
            await self._publish(alert(number))
            self.promised_alerts.add(f"alert-{number}")
            self._alerts.put_nowait(number)
            if await self._is_over(None):
                return

    async def _publish(self, message: m.AlertTriggered) -> None:
        while True:
            sent = self._producer.publish(ALERTS, message.unit_id, m.encode(message), message_type="triggered")
            try:
                await asyncio.wrap_future(sent)
            except NotDeliveredError:
                await asyncio.sleep(AFTER_TROUBLE_S)
            else:
                return

    async def _acknowledge(self) -> None:
        """Each alert, under one idempotency key until it succeeds; until the recorder knows it, that is a 404."""
        while not (self._over.is_set() and self._alerts.empty()):
            try:
                number = await asyncio.wait_for(self._alerts.get(), 0.2)
            except TimeoutError:
                continue
            key = {"Idempotency-Key": str(uuid.uuid4())}
            while True:
                answer = await self._ask("POST", f"/v1/alerts/alert-{number}/acknowledge", {}, key)
                if answer is not None and answer.is_success:
                    self.promised_acknowledgements.add(f"alert-{number}")
                    break
                await asyncio.sleep(AFTER_TROUBLE_S)

    async def _ask(
        self, method: str, path: str, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> httpx.Response | None:
        try:
            answer = await self._client.request(method, path, json=body, headers=headers)
        except httpx.TransportError:
            self.failed += 1
            return None
        self.failed += answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
        return answer

    async def _is_over(self, answer: httpx.Response | None) -> bool:
        pause_s = PAUSE_S if answer is not None and answer.is_success else AFTER_TROUBLE_S
        try:
            await asyncio.wait_for(self._over.wait(), pause_s)
        except TimeoutError:
            return False
        return True


def names_of(value: bytes | None) -> str:
    """The name in a unit's configuration message."""
    return msgspec.json.decode(value or b"", type=m.UnitConfig).name
