"""The escalation of each alert, in a table beside the partition of its unit.

Three flows change it: `alerts`, `alert-commands` and `escalations`. Their topics have the same key and partition count,
so one worker has all three partitions of a number, and one lock a partition keeps their changes apart.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import structlog

from domain.notification.escalation import End, Escalation
from schemas import messages as m
from schemas.headers import Header, event_headers
from schemas.topic import DAY_MS
from schemas.topics import ESCALATIONS
from streams.engine.publish import Outgoing
from streams.engine.timers import Timer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from streams.engine.interfaces import Clock, Publish, Rows, Slot
    from streams.engine.timers import Timers

log = structlog.get_logger(__name__)

# A day longer than the broker keeps the group's place in a topic (7 days, its default) when no worker runs.
REMEMBERED_MS = 8 * DAY_MS


class State(msgspec.Struct, frozen=True, array_like=True):
    """One alert. `version` counts the changes: of two versions that recovery meets, the later one wins.

    `alert` is what another SMS about it needs; it is None before the alert was read, and after it was resolved.
    `notify_now` is a command that came before its alert. `trace` is the alert's, for all that follows from it.
    """

    version: int
    changed_at_ms: int
    escalation: Escalation
    alert: m.AlertTriggered | m.SeverityRaised | None = None
    notify_now: m.NotifyNow | None = None
    trace: bytes = b""
    paged: tuple[str, ...] = ()
    """Who was sent an SMS about the alert: they read its all-clear."""
    numbers: dict[str, str] = {}
    """A mark of the number of each at that time (`reachability.number_mark`)."""

    def paging(self, users: Iterable[str], numbers: dict[str, str]) -> State:
        """An SMS goes to these people, at the numbers that they have now."""
        paged = tuple(dict.fromkeys((*self.paged, *users)))
        return msgspec.structs.replace(self, paged=paged, numbers=self.numbers | numbers)


_encode = msgspec.msgpack.Encoder().encode
decode_state = msgspec.msgpack.Decoder(State).decode


class Changes:
    """What a batch does to the escalations of its partition, gathered in memory."""

    def __init__(self, read: Callable[[str], State | None]) -> None:
        self._read = read
        self.states: dict[str, State] = {}
        self.outgoing: list[Outgoing] = []

    def known(self, alert_id: str) -> State | None:
        """The state with what the batch changed so far; None where nothing is known of the alert."""
        return self.states.get(alert_id) or self._read(alert_id)

    def state(self, alert_id: str) -> State:
        return self.known(alert_id) or State(0, 0, Escalation(alert_id))

    def send(self, records: Iterable[Outgoing], trace: bytes) -> None:
        """Records that follow from an alert belong to its trace."""
        header = (Header.TRACEPARENT.value, trace)
        self.outgoing += [
            Outgoing(record.topic, record.key, record.value, (*record.headers, header)) if trace else record
            for record in records
        ]

    def put(self, state: State) -> None:
        """Also what did not change is put: its timer may be lost, where a crash came when the state had arrived."""
        self.states[state.escalation.alert_id] = state


class EscalationStates:
    def __init__(
        self,
        *,
        table: Rows,
        timers: Timers,
        publish: Publish,
        now_ms: Clock,
    ) -> None:
        self._table = table
        self._timers = timers
        self._publish = publish
        self._now_ms = now_ms
        self._one_at_a_time: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def changing(self, slot: Slot) -> AsyncIterator[Changes]:
        """Gather changes while no other flow changes the partition, then carry them out.

        Records first, then timers, then states: after a crash in between the batch makes the same once more.
        """
        async with self._one_at_a_time[slot.partition]:
            changes = Changes(lambda alert_id: self._stored(slot, alert_id))
            yield changes
            await self._publish(changes.outgoing)
            await self._set_timers(slot, changes.states.values())
            await self._table.write(slot, dict(map(self._row, changes.states.values())))

    def _stored(self, slot: Slot, alert_id: str) -> State | None:
        raw = self._table.read(slot, alert_id.encode())
        return None if raw is None else decode_state(raw)

    def _row(self, state: State) -> tuple[bytes, bytes]:
        changed = msgspec.structs.replace(state, version=state.version + 1, changed_at_ms=self._now_ms())
        return state.escalation.alert_id.encode(), _encode(changed)

    async def _set_timers(self, slot: Slot, states: Iterable[State]) -> None:
        wanted: list[Timer] = []
        unwanted: list[str] = []
        for state in states:
            timer = self._timer(state)
            if timer is None:
                unwanted.append(timer_id(state.escalation.alert_id))
            else:
                wanted.append(timer)
        if wanted:
            await self._timers.set(slot, wanted)
        if unwanted:
            await self._timers.cancel(slot, unwanted)

    def _timer(self, state: State) -> Timer | None:
        escalation, alert = state.escalation, state.alert
        due_at_ms = escalation.next_at_ms
        if due_at_ms is None or alert is None:
            return None
        due = m.EscalationDue(
            alert_id=alert.alert_id,
            unit_id=alert.unit_id,
            organization_id=alert.organization_id,
            level=max(1, escalation.level.number),
            at_ms=due_at_ms,
        )
        headers = (
            *event_headers(f"{alert.alert_id}.{due.level}.{due_at_ms}.due", "escalation_due"),
            (Header.DUE_AT.value, str(due_at_ms).encode()),
        )
        return Timer(
            timer_id=timer_id(alert.alert_id),
            due_at_ms=due_at_ms,
            topic=ESCALATIONS,
            key=alert.unit_id.encode(),
            value=m.encode(due),
            headers=headers,
        )


def timer_id(alert_id: str) -> str:
    """An alert has one timer: for its next step."""
    return f"escalation.{alert_id}"


def is_over(raw: bytes, now_ms: int) -> bool:
    """Whether a state may be forgotten: of a resolved alert, or of one that never came, a good week later."""
    state = decode_state(raw)
    over = state.escalation.ended is End.RESOLVED or state.alert is None
    return over and state.changed_at_ms < now_ms - REMEMBERED_MS
