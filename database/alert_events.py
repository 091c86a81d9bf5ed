"""Everything that happened about an alert, from three tables in one order: its steps, its SMS, and their outcomes."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, literal, select, union_all
from sqlalchemy.orm import Mapped

from database.declarative import Row
from database.notifications import SmsAlertLogRow, SmsRequestRow
from database.records import AlertTimelineRow

# Of one instant, a request stands before steps, and steps stand before outcomes.
_REQUEST, _STEP, _OUTCOME = (literal(rank) for rank in "012")


def _texts(**columns: ColumnElement[Any]) -> ColumnElement[Any]:
    """A JSON object of texts, without those that are null."""
    return func.jsonb_strip_nulls(func.jsonb_build_object(*(part for pair in columns.items() for part in pair)))


def _instant(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.to_char(func.timezone("UTC", column), 'YYYY-MM-DD"T"HH24:MI:SS"Z"')


def _numbered(rank: ColumnElement[str], column: ColumnElement[int]) -> ColumnElement[str]:
    return func.concat(rank, func.lpad(cast(column, Text), 19, "0"))


_step, _request, _entry = AlertTimelineRow.__table__.c, SmsRequestRow.__table__.c, SmsAlertLogRow.__table__.c

_EVENTS = union_all(
    select(
        _step.alert_id,
        _step.at,
        _numbered(_STEP, _step.entry_id).label("place"),
        _step.event,
        _step.user_id,
        _step.detail,
    ),
    select(
        _request.alert_id,
        _request.requested_at,
        func.concat(_REQUEST, _request.request_id),
        literal("sms_requested"),
        _request.user_id,
        _texts(request_id=_request.request_id, level=cast(_request.level, Text), text=_request.text),
    ),
    select(
        _entry.alert_id,
        _entry.at,
        _numbered(_OUTCOME, _entry.entry_id),
        func.concat("sms_", _entry.outcome),
        _entry.user_id,
        _texts(
            request_id=_entry.request_id,
            attempt=cast(_entry.attempt, Text),
            until=_instant(_entry.until_at),
            due=_instant(_entry.due_at),
            by_request_id=_entry.by_request_id,
            error_code=_entry.error_code,
            error=_entry.error,
        ),
    ),
).subquery("alert_events")


class AlertEventRow(Row):
    """One event; `place` orders those of one instant and names the row."""

    __table__ = _EVENTS
    __mapper_args__ = {  # noqa: RUF012 - SQLAlchemy's
        "primary_key": [_EVENTS.c.alert_id, _EVENTS.c.at, _EVENTS.c.place]
    }

    alert_id: Mapped[str]
    at: Mapped[datetime]
    place: Mapped[str]
    event: Mapped[str]
    user_id: Mapped[str | None]
    detail: Mapped[dict[str, str]]
