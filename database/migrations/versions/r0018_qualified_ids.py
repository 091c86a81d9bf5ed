"""Ids of units and users are qualified by their organization: rows, references, and what is kept of messages

Kafka keeps the former ids: `freshtrack config republish` afterwards writes the new ones and deletes the others.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "r0018"
down_revision = "r0017"
branch_labels = None
depends_on = None

# Tables whose columns of these names hold ids, beside the organization that they belong to.
OWNED = {
    "users": ("user_id",),
    "escalation_steps": ("user_id",),
    "digest_preferences": ("user_id",),
    "api_keys": ("user_id",),
    "organizations": ("fallback_user_id",),
    "units": ("unit_id",),
    "alerts": ("unit_id", "acknowledged_by"),
    "alert_timeline": ("user_id",),
    "job_failures": ("user_id", "settled_by"),
    "unit_aggregates": ("unit_id",),
    "digest_ledger": ("user_id",),
    "sms_alert_log": ("user_id",),
    "sms_requests": ("user_id",),
    "email_log": ("user_id",),
}
# References without the organization beside them.
REFERENCES = (
    ("rules", "unit_id", "units"),
    ("maintenance_windows", "unit_id", "units"),
    ("web_sessions", "user_id", "users"),
    ("sign_in_links", "user_id", "users"),
)
REFERENCES_OF_OWNED = (
    ("escalation_steps", "user_id", "users"),
    ("digest_preferences", "user_id", "users"),
)
ID_FIELDS = frozenset({"unit_id", "user_id", "fallback_user_id"})
ROWS_AT_ONCE = 1_000


def upgrade() -> None:
    op.add_column("digest_preferences", sa.Column("former_id", sa.Text()))
    op.create_unique_constraint(op.f("uq_digest_preferences_former_id"), "digest_preferences", ["former_id"])
    op.execute("UPDATE digest_preferences SET former_id = user_id")
    audited = (*OWNED, *(table for table, _, _ in REFERENCES), "outbox", "audit_personal")
    foreign_keys = (*REFERENCES, *REFERENCES_OF_OWNED)
    for table in audited:
        # An upgrade is no change that somebody made.
        op.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    for table, column, parent in foreign_keys:
        op.drop_constraint(op.f(f"fk_{table}_{column}_{parent}"), table, type_="foreignkey")
    for table, column, parent in REFERENCES:
        op.execute(
            f"UPDATE {table} SET {column} = {parent}.organization_id || '/' || {table}.{column}"  # noqa: S608 - ours
            f" FROM {parent} WHERE {parent}.{column} = {table}.{column}"
        )
    for table, columns in OWNED.items():
        for column in columns:
            # `key:` names an API key.
            op.execute(
                f"UPDATE {table} SET {column} = organization_id || '/' || {column}"  # noqa: S608 - ours
                f" WHERE {column} NOT LIKE 'key:%' AND organization_id IS NOT NULL"
            )
    for table, column, parent in foreign_keys:
        op.create_foreign_key(
            op.f(f"fk_{table}_{column}_{parent}"), table, parent, [column], [column], ondelete="CASCADE"
        )
    op.execute(
        "UPDATE audit_personal SET user_id = trail.organization_id || '/' || user_id FROM audit_trail AS trail"
        " WHERE trail.entry_id = audit_personal.entry_id AND trail.organization_id IS NOT NULL"
    )
    _move_preferences()
    _move_payloads("sms_requests", "request_id")
    _move_payloads("job_failures", "failure_id")
    _move_outbox()
    _move_reports()
    for table in audited:
        op.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def _move_preferences() -> None:
    connection = op.get_bind()
    for user_id, organization_id, units in connection.execute(
        sa.text("SELECT user_id, organization_id, units FROM digest_preferences WHERE units <> '{}'::jsonb")
    ).all():
        moved = {cadence: [f"{organization_id}/{unit}" for unit in ids] for cadence, ids in units.items()}
        connection.execute(
            sa.text("UPDATE digest_preferences SET units = CAST(:units AS jsonb) WHERE user_id = :user_id"),
            {"units": json.dumps(moved), "user_id": user_id},
        )


def _move_payloads(table: str, key: str) -> None:
    """What is sent again by a redrive or a rerun."""
    connection = op.get_bind()
    change = sa.text(f"UPDATE {table} SET payload = :payload WHERE {key} = :key")  # noqa: S608 - ours
    first = sa.text(
        f"SELECT {key}, organization_id, payload FROM {table}"  # noqa: S608 - ours
        f" WHERE payload IS NOT NULL AND organization_id IS NOT NULL ORDER BY {key} LIMIT {ROWS_AT_ONCE}"
    )
    following = sa.text(str(first).replace("ORDER BY", f"AND {key} > :after ORDER BY"))
    rows = connection.execute(first).all()
    while rows:
        for row_id, organization_id, payload in rows:
            if (moved := _moved_json(payload, organization_id)) is not None:
                connection.execute(change, {"payload": moved, "key": row_id})
        rows = connection.execute(following, {"after": rows[-1][0]}).all()


def _move_outbox() -> None:
    """What the relay has not sent: changes of configuration under their new ids, orders to the present workers.

    A tombstone keeps the former id, which is the one to delete.
    """
    connection = op.get_bind()
    for sequence, key, value in connection.execute(
        sa.text("SELECT sequence, key, value FROM outbox WHERE value IS NOT NULL")
    ).all():
        try:
            message = json.loads(value)
        except ValueError:
            continue
        organization_id = _organization_of(message)
        if organization_id is None:
            continue
        ids = {message.get(name) for name in ID_FIELDS} | {(message.get("request") or {}).get("user_id")}
        connection.execute(
            sa.text("UPDATE outbox SET key = :key, value = :value WHERE sequence = :sequence"),
            {
                "key": f"{organization_id}/{key}" if key in ids else key,
                "value": _encoded(_moved(message, organization_id)),
                "sequence": sequence,
            },
        )


def _move_reports() -> None:
    """Digests compare with earlier ones, unit by unit."""
    connection = op.get_bind()
    for job_id, organization_id, content in connection.execute(
        sa.text("SELECT job_id, organization_id, content FROM digest_reports")
    ).all():
        report = msgspec.msgpack.decode(zlib.decompress(content))
        moved = zlib.compress(msgspec.msgpack.encode(_moved(report, organization_id)))
        connection.execute(
            sa.text("UPDATE digest_reports SET content = :content WHERE job_id = :job_id"),
            {"content": moved, "job_id": job_id},
        )


def _organization_of(message: Any) -> str | None:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(message, dict):
        return None
    return message.get("organization_id") or _organization_of(message.get("request"))


def _moved_json(payload: bytes, organization_id: str) -> bytes | None:
    try:
        message = json.loads(payload)
    except ValueError:
        return None
    if isinstance(message, dict) and message.get("type") == "dead_reading":
        return _moved_reading(message, organization_id)
    return _encoded(_moved(message, organization_id))


def _moved_reading(dead: dict[str, Any], organization_id: str) -> bytes | None:
    """The record as it came lies inside, and is sent again as it lies there."""
    try:
        value = base64.b64decode(dead.get("value_base64") or "", validate=True)
        inner = json.loads(value)
    except ValueError:
        return None
    if not isinstance(inner, dict) or not isinstance(inner.get("unit_id"), str) or len(value) != dead["value_bytes"]:
        return None
    moved = _encoded(inner | {"unit_id": f"{organization_id}/{inner['unit_id']}"})
    return _encoded(dead | {"value_base64": base64.b64encode(moved).decode(), "value_bytes": len(moved)})


def _moved(part: Any, organization_id: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The same with qualified ids, wherever a field of such a name lies."""
    if isinstance(part, list):
        return [_moved(item, organization_id) for item in part]
    if not isinstance(part, dict):
        return part
    return {name: _moved_field(name, value, organization_id) for name, value in part.items()}


def _moved_field(name: str, value: Any, organization_id: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    if name in ID_FIELDS and isinstance(value, str):
        return f"{organization_id}/{value}"
    if name in {"unit_ids", "user_ids"} and isinstance(value, list):
        return [f"{organization_id}/{item}" for item in value]
    if name == "acknowledged_by" and isinstance(value, str) and not value.startswith("key:"):
        return f"{organization_id}/{value}"
    if name == "units" and isinstance(value, dict):
        return {key: [f"{organization_id}/{unit}" for unit in ids] for key, ids in value.items()}
    return _moved(value, organization_id)


def _encoded(message: Any) -> bytes:  # noqa: ANN401 - whatever JSON holds
    return json.dumps(message, separators=(",", ":")).encode()
