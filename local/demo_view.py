"""What a person sees of the demo: alerts and SMS as they pass through Kafka, a calm line each."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

import aiokafka
import msgspec

from domain.digest import words
from domain.temperatures import apart, number
from schemas import messages as m
from schemas import topics as t
from schemas.identity import plain

if TYPE_CHECKING:
    from collections.abc import Callable

LANES = [topic.name for topic in t.SMS_LANES.values()]
_alert = msgspec.json.Decoder(m.Alert).decode
_request = msgspec.json.Decoder(m.SmsRequest).decode
_outcome = msgspec.json.Decoder(m.Outcome).decode


class DemoView:
    """Follows the topics from this moment on and says what happens.

    `first_story` is set once an alert was texted and resolved.
    """

    def __init__(self, bootstrap: str, say: Callable[[str], None]) -> None:
        self._bootstrap = bootstrap
        self._say = say
        self._since_ms = int(time.time() * 1000)
        self._consumer: Any = None
        self._units: dict[str, m.UnitConfig] = {}
        self._contacts: dict[str, m.Contact] = {}
        self._requests: dict[str, m.SmsRequest] = {}
        self._triggered: dict[str, m.AlertTriggered | m.SeverityRaised] = {}
        self._resolved: set[str] = set()
        self._sent: dict[str, list[m.SmsRequest]] = {}
        # Each topic is in order, but one may be read before another: an SMS is shown once its text is known.
        self._before_request: dict[str, list[m.Outcome]] = {}
        self._story: str | None = None
        self.first_story = asyncio.Event()
        self.newest = "nothing"

    async def __aenter__(self) -> Self:
        self._consumer = aiokafka.AIOKafkaConsumer(
            *LANES,
            t.ALERTS.name,
            t.SMS_OUTCOMES.name,
            t.UNITS.name,
            t.CONTACTS.name,
            bootstrap_servers=self._bootstrap,
            group_id=None,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await self._consumer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    @property
    def first_breach_at_ms(self) -> int:
        """The time of the reading that triggered the first texted and resolved alert."""
        assert self._story is not None
        return self._triggered[self._story].at_ms

    @property
    def story(self) -> tuple[str, str]:
        """The first texted and resolved alert's id, and whose it is."""
        assert self._story is not None
        return self._story, self._triggered[self._story].organization_id

    @property
    def texts_of_first_story(self) -> set[str]:
        assert self._story is not None
        return {request.text for request in self._sent[self._story]}

    async def follow(self) -> None:
        """Run until cancelled. Names are read first, so that every line can show them."""
        await self._read_names()
        async for record in self._consumer:
            if record.value is None:
                continue
            self._take(record.topic, record.value, new=record.timestamp >= self._since_ms)

    async def _read_names(self) -> None:
        assigned = self._consumer.assignment()
        names = {partition for partition in assigned if partition.topic in {t.UNITS.name, t.CONTACTS.name}}
        others = tuple(assigned - names)
        self._consumer.pause(*others)
        ends = await self._consumer.end_offsets(names)
        while any([await self._consumer.position(partition) < end for partition, end in ends.items()]):
            for records in (await self._consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    if record.value is not None:
                        self._take(record.topic, record.value, new=False)
        self._consumer.resume(*others)

    def _take(self, topic: str, value: bytes, *, new: bool) -> None:
        if topic == t.UNITS.name:
            unit = msgspec.json.decode(value, type=m.UnitConfig)
            self._units[unit.unit_id] = unit
        elif topic == t.CONTACTS.name:
            contact = msgspec.json.decode(value, type=m.Contact)
            self._contacts[contact.user_id] = contact
        elif not new:
            return
        elif topic == t.ALERTS.name:
            self._alert(_alert(value))
        elif topic == t.SMS_OUTCOMES.name:
            self._outcome(_outcome(value))
        else:
            request = _request(value)
            self._requests[request.request_id] = request
            for outcome in self._before_request.pop(request.request_id, ()):
                self._outcome(outcome)

    def _alert(self, alert: m.Alert) -> None:
        unit = self._units.get(alert.unit_id)
        name = plain(alert.unit_id) if unit is None else f"{unit.organization_name} · {unit.name}"
        if isinstance(alert, m.AlertResolved):
            self._resolved.add(alert.alert_id)
            self._tell("resolved", f"{name}{_end(alert, unit)}")
        else:
            self._triggered[alert.alert_id] = alert
            silent = "" if not isinstance(alert, m.AlertTriggered) or alert.paging else f" ({alert.silent_because})"
            self._tell("alert", f"{name}, {alert.severity}: {_breach(alert, unit)}{silent}")
        self._look_for_a_story(alert.alert_id)

    def _outcome(self, outcome: m.Outcome) -> None:
        request = self._requests.get(outcome.request_id)
        if request is None:
            self._before_request.setdefault(outcome.request_id, []).append(outcome)
            return
        contact = self._contacts.get(outcome.user_id)
        name = plain(outcome.user_id) if contact is None else contact.name
        match outcome:
            case m.SmsSent():
                self._tell("sms", f"to {name}, {outcome.latency_ms} ms after the alert: {request.text}")
                self._sent.setdefault(outcome.alert_id, []).append(request)
            case m.SmsRetryScheduled(error_code=code):
                self._tell("sms", f"to {name} failed ({code}), comes again")
            case m.SmsDead(reason=reason):
                self._tell("sms", f"to {name} given up: {reason}")
            case m.SmsRateLimited() | m.SmsOptedOut() | m.SmsUnknown():
                self._tell("sms", f"to {name}: {type(outcome).__struct_config__.tag}")
            case _:
                pass
        self._look_for_a_story(outcome.alert_id)

    def _look_for_a_story(self, alert_id: str) -> None:
        if (
            self._story is None
            and alert_id in self._sent
            and alert_id in self._resolved
            and alert_id in self._triggered
        ):
            self._story = alert_id
            self.first_story.set()

    def _tell(self, kind: str, sentence: str) -> None:
        self.newest = f"{kind} {sentence}"
        self._say(f"{datetime.now().astimezone():%H:%M:%S}  {kind:9} {sentence}")


def _breach(alert: m.AlertEvent, unit: m.UnitConfig | None) -> str:
    """A temperature against its limit; of what has none, such as silence, what it is."""
    if alert.temperature_c is None or alert.limit_c is None:
        return words.problem(alert.kind)
    return f"{_temperature(alert.temperature_c, unit, alert.limit_c)}, limit {_temperature(alert.limit_c, unit)}"


def _end(alert: m.AlertResolved, unit: m.UnitConfig | None) -> str:
    if alert.temperature_c is None:
        return f": no longer {words.problem(alert.kind)}"
    return f" is at {_temperature(alert.temperature_c, unit)} again"


def _temperature(celsius: float, unit: m.UnitConfig | None, beside_c: float | None = None) -> str:
    display_unit = "C" if unit is None else unit.display_unit
    return f"{number(celsius, display_unit, apart(celsius, beside_c, display_unit))} °{display_unit}"
