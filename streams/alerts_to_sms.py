"""`alerts` → one SMS request per contact on duty, in the lane of the alert's severity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from schemas import messages as m
from schemas.topics import SMS_DLQ, SMS_LANES
from streams.domain.decisions import sms_request_id
from streams.domain.paging import Roster, pages, recipients, roster
from streams.domain.sms_text import breach_text
from streams.engine.publish import Outgoing
from streams.unreadable import dead_letter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from streams.consumer import Batch

_decode: msgspec.json.Decoder[m.Alert] = msgspec.json.Decoder(m.Alert)

FIRST_LEVEL = 1


class Units(Protocol):
    def get(self, entry_id: str) -> m.UnitConfig | None: ...


class Contacts(Protocol):
    @property
    def version(self) -> int: ...
    def values(self) -> Iterable[m.Contact]: ...


class Paging:
    """Turns alerts into SMS requests. Their ids are made of (alert, user, level), so a re-run makes the same ones."""

    def __init__(
        self,
        publish: Callable[[Sequence[Outgoing]], Awaitable[None]],
        units: Units,
        contacts: Contacts,
        topic_name: Callable[[str], str],
        now_ms: Callable[[], int],
    ) -> None:
        self._publish = publish
        self._units = units
        self._contacts = contacts
        self._topic_name = topic_name
        self._now_ms = now_ms
        self._roster: Roster = {}
        self._roster_version = -1

    async def handle(self, batch: Batch) -> None:
        outgoing: list[Outgoing] = []
        now_ms = self._now_ms()
        for record in batch.records:
            try:
                alert = _decode.decode(record.value or b"")
            except msgspec.MsgspecError as error:
                outgoing.append(dead_letter(record, self._topic_name(SMS_DLQ.name), str(error), now_ms))
                continue
            if pages(alert):
                assert not isinstance(alert, m.AlertResolved)
                outgoing += map(self._outgoing, self._requests(alert, now_ms))
        await self._publish(outgoing)

    def _requests(self, alert: m.AlertTriggered | m.AlertEscalated, now_ms: int) -> Iterator[m.SmsRequest]:
        if self._roster_version != self._contacts.version:
            self._roster_version = self._contacts.version
            self._roster = roster(self._contacts.values())
        unit = self._units.get(alert.unit_id)
        for contact in recipients(alert, self._roster, FIRST_LEVEL):
            yield m.SmsRequest(
                request_id=sms_request_id(alert.alert_id, contact.user_id, FIRST_LEVEL),
                alert_id=alert.alert_id,
                unit_id=alert.unit_id,
                organization_id=alert.organization_id,
                user_id=contact.user_id,
                kind=alert.kind,
                severity=alert.severity,
                level=FIRST_LEVEL,
                text=breach_text(alert, unit, contact.user_id),
                breach_at_ms=alert.at_ms,
                requested_at_ms=now_ms,
            )

    def _outgoing(self, request: m.SmsRequest) -> Outgoing:
        return Outgoing(
            self._topic_name(SMS_LANES[request.severity].name),
            request.user_id.encode(),
            m.encode(request),
            (("id", request.request_id.encode()), ("type", b"sms")),
        )
