"""Sends dead letters, and finished SMS, again: decides, changes their rows, and hands the records to the relay.

Rows and outbox change in one transaction, so that nothing is sent twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from sqlalchemy import func, select

from database.declarative import from_ms, to_ms
from database.notifications import SmsAlertLogRow
from domain.redrive.dead_letters import DeadLetterId, kind_of, read
from domain.redrive.redrive import Reason, Refused, already_sent, decide, decide_rerun
from outbox.alert_states import alert_states
from outbox.writer import QueuedRecord, publish_records
from schemas import messages as m
from schemas.headers import Header, type_name
from schemas.identity import plain
from schemas.topics import DEAD_LETTER_SETTLEMENTS, SMS_CRITICAL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from database.notifications import SmsRequestRow
    from database.records import JobFailureRow
    from domain.redrive.dead_letters import DeadLetter
    from domain.redrive.redrive import Options
    from domain.redrive.redrive_record import Facts, RedriveRecord


class Judged(Struct, frozen=True):
    """A row, its dead letter (None if this version cannot read it), and what a redrive would do."""

    row: JobFailureRow
    dead: DeadLetter | None
    facts: Facts | None
    decision: RedriveRecord | Refused

    @property
    def place(self) -> DeadLetterId:
        return DeadLetterId(self.row.source_topic, self.row.source_partition, self.row.source_offset)


async def judge_rows(
    session: AsyncSession, rows: Sequence[JobFailureRow], *, now: datetime, options: Options
) -> list[Judged]:
    """What a redrive of each row would do, given what the database knows of its alert."""
    found = [(row, read(row.payload)) for row in rows]
    facts = [None if dead is None else kind_of(dead, row.source_topic).facts(dead) for row, dead in found]
    alerts = await alert_states(session, {fact.alert_id for fact in facts if fact and fact.alert_id})
    judged = []
    for (row, dead), fact in zip(found, facts, strict=True):
        decision: RedriveRecord | Refused
        if row.settled_at is not None:
            decision = already_sent(row.settled_by and plain(row.settled_by), row.redrives)
        elif dead is None or fact is None:
            decision = Refused(
                Reason.NOT_REDRIVABLE,
                "this version cannot read what is kept of the dead letter; its writer must send it again",
                forcible=False,
            )
        else:
            decision = decide(dead, now_ms=to_ms(now), options=options, alert=alerts.get(fact.alert_id or ""))
        judged.append(Judged(row, dead, fact, decision))
    return judged


async def redrive(session: AsyncSession, judged: Sequence[Judged], *, by: str, now: datetime) -> None:
    """Settle the rows that may be sent again, and queue their records and settlements for the relay."""
    records = []
    at_ms = to_ms(now)
    for one in judged:
        if isinstance(one.decision, Refused):
            continue
        one.row.settled_at, one.row.settled_by = from_ms(at_ms), by
        one.row.redrives = one.decision.redrives
        records += [_queued(one.decision, one.place), _settlement(one.place, one.decision, by=by, at_ms=at_ms)]
    await session.flush()
    await publish_records(session, records)


async def judge_rerun(
    session: AsyncSession, row: SmsRequestRow, *, now: datetime, options: Options
) -> RedriveRecord | Refused:
    """What a rerun of the SMS would do. The caller has locked the row."""
    log = SmsAlertLogRow
    since = log.entry_id > (row.rerun_after or 0)
    last = select(log.outcome).where(log.request_id == row.request_id, since).order_by(log.entry_id.desc()).limit(1)
    alerts = await alert_states(session, {row.alert_id})
    return decide_rerun(
        SMS_CRITICAL.decode(row.payload),
        await session.scalar(last),
        now_ms=to_ms(now),
        options=options,
        alert=alerts.get(row.alert_id),
    )


async def rerun(session: AsyncSession, row: SmsRequestRow, record: RedriveRecord) -> None:
    """Queue the SMS for the relay. Until it has an outcome, another rerun is refused as under way."""
    newest = select(func.max(SmsAlertLogRow.entry_id)).where(SmsAlertLogRow.request_id == row.request_id)
    row.rerun_after = await session.scalar(newest)
    row.redrives, row.payload = record.redrives, record.value
    await session.flush()
    await publish_records(session, [_queued(record, None)])


def _queued(record: RedriveRecord, place: DeadLetterId | None) -> QueuedRecord:
    """The record for the outbox; its headers name the attempts already made and where the dead letter lies."""
    headers = {Header.ATTEMPT.value: str(record.attempts)}
    if place is not None:
        headers |= {
            Header.ORIGINAL_TOPIC.value: place.topic,
            Header.ORIGINAL_PARTITION.value: str(place.partition),
            Header.ORIGINAL_OFFSET.value: str(place.offset),
        }
    return QueuedRecord(record.topic, record.key, record.value, record.message_type, record.message_id, headers)


def _settlement(place: DeadLetterId, record: RedriveRecord, *, by: str, at_ms: int) -> QueuedRecord:
    settled = m.DeadLetterSettled(
        letter_id=str(place),
        by=by,
        at_ms=at_ms,
        sent_to=record.topic.name,
        message_id=record.message_id,
        redrives=record.redrives,
    )
    return QueuedRecord(
        DEAD_LETTER_SETTLEMENTS,
        settled.letter_id,
        m.encode(settled),
        type_name(m.DeadLetterSettled),
        f"settled {settled.letter_id}",
        {},
    )
