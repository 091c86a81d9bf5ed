"""Contacts → escalations: a person who was paged and is then removed, opts out or gets another number has no page.

The next person is asked at once, as after an SMS that did not arrive; and so is whoever comes on duty after a chain
that had reached nobody. What a state says of the paged number is compared with the contacts whenever either may have
changed: after a change, and when partitions come.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from domain.notification.escalation import End, chain
from domain.notification.reachability import hastened, why_lost
from schemas import messages as m
from schemas.headers import event_headers
from schemas.topics import ESCALATIONS
from streams.engine.publish import Outgoing, PublishError
from streams.notifications.escalation_states import decode_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.engine.interfaces import Clock, Entries, Publish, Table
    from streams.notifications.escalation_states import State

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0
# A look takes at most a twentieth of the worker's time, however many alerts are open.
REST_FACTOR = 20
ROWS_AT_ONCE = 200


class ContactChanges:
    """`found` counts people whose page no longer counts."""

    def __init__(self, table: Table, contacts: Entries[m.Contact], publish: Publish, now_ms: Clock) -> None:
        self._table = table
        self._contacts = contacts
        self._publish = publish
        self._now_ms = now_ms
        self._seen: object = None
        self.found = 0

    async def run(self) -> None:
        """Look after changes, until it is cancelled."""
        rest_s = LOOK_EVERY_S
        while True:
            await asyncio.sleep(rest_s)
            begun = time.monotonic()
            try:
                await self.look()
            except PublishError as error:
                self._seen = None
                log.warning("contacts.changes_put_off", why=repr(error))
            rest_s = max(LOOK_EVERY_S, REST_FACTOR * (time.monotonic() - begun))

    async def look(self) -> None:
        """Publish whose page no longer counts; nothing unless contacts or partitions changed."""
        owned = self._table.owned()
        now = (self._contacts.version, *((slot.partition, slot.epoch) for slot in owned))
        if now == self._seen:
            return
        for slot in owned:
            for number, (_, raw) in enumerate(self._table.scan(slot)):
                if lost := list(self._lost(decode_state(raw))):
                    self.found += len(lost)
                    await self._publish(lost)
                if number % ROWS_AT_ONCE == 0:
                    await asyncio.sleep(0)
        self._seen = now

    def _lost(self, state: State) -> Iterator[Outgoing]:
        escalation, alert = state.escalation, state.alert
        if alert is None:
            return
        if escalation.ended is not None:
            yield from self._new(state, alert)
            return
        for user_id in escalation.level.user_ids:
            if user_id in escalation.undelivered:
                continue
            because = why_lost(self._contacts.get(user_id), state.numbers.get(user_id))
            if because is None:
                continue
            log.warning("escalation.person_lost", alert=alert.alert_id, user=user_id, because=because)
            event = m.PageUndelivered(
                alert_id=alert.alert_id,
                unit_id=alert.unit_id,
                organization_id=alert.organization_id,
                level=escalation.level.number,
                at_ms=self._now_ms(),
                user_id=user_id,
                because=because,
            )
            id_ = f"{alert.alert_id}.{escalation.round}.{event.level}.{user_id}.{because}"
            yield Outgoing(ESCALATIONS, alert.unit_id.encode(), m.encode(event), event_headers(id_, "sms_missed"))

    def _new(self, state: State, alert: m.AlertTriggered | m.SeverityRaised) -> Iterator[Outgoing]:
        """Somebody came on duty after a chain that had reached nobody."""
        now_ms, escalation = self._now_ms(), state.escalation
        people = (one for one in self._contacts.values() if one.organization_id == alert.organization_id)
        if escalation.ended is not End.CHAIN_ENDED:
            return
        if hastened(escalation, chain(people, alert.severity), state.paged, now_ms) is None:
            return
        event = m.EscalationDue(
            alert_id=alert.alert_id,
            unit_id=alert.unit_id,
            organization_id=alert.organization_id,
            level=max(1, escalation.level.number),
            at_ms=now_ms,
        )
        headers = event_headers(f"{alert.alert_id}.{escalation.round}.{now_ms}.due", "escalation_due")
        yield Outgoing(ESCALATIONS, alert.unit_id.encode(), m.encode(event), headers)
