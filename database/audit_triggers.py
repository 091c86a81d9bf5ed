"""The triggers that write the audit trail in the transaction of each change, whoever makes it, and keep it whole.

A new table of configuration takes one line in `AUDITED`. `upgrade` installs everything here after the migrations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text

from database.audit_functions import ACTOR, FUNCTIONS, KEPT_DAYS, ORGANIZATION, ORIGIN

if TYPE_CHECKING:
    from sqlalchemy import Connection


class Audited(NamedTuple):
    """A table whose every change is an entry: what a row is called, what names it, which columns are personal data,
    and which are left out because they say nothing about a person's change.
    """

    table: str
    kind: str
    key: str
    personal: str = ""
    left_out: str = "version created_at"


AUDITED = (
    Audited("organizations", "organization", "organization_id"),
    Audited("users", "contact", "user_id", personal="name phone_e164 email"),
    Audited("escalation_steps", "escalation_step", "user_id"),
    # Its key is a number, of which the trail has the digest only.
    Audited("opt_outs", "opt_out", "phone_e164", left_out="phone_e164"),
    Audited("units", "unit", "unit_id"),
    Audited("rules", "rule", "unit_id rule_id"),
    Audited("maintenance_windows", "maintenance_window", "window_id"),
    Audited("digest_preferences", "digest_preference", "user_id"),
    Audited("api_keys", "api_key", "key_id", personal="name", left_out="created_at created_by last_used_at"),
)


class Act(NamedTuple):
    """A person's act that changes no configuration: the rows that tell of it, and the parts of its entry in SQL."""

    table: str
    on: str
    when: str
    kind: str
    subject: str
    action: str
    actor: str
    after: str


ACTS = (
    # Acknowledgements by SMS come through the recorder, everything else through the API.
    Act(
        "alert_timeline",
        "INSERT",
        "NEW.source_topic IS NULL OR NEW.event = 'acknowledged'",
        "alert",
        "new_row->>'alert_id'",
        "'alert.' || (new_row->>'event')",
        "new_row->>'user_id'",
        "jsonb_build_object('user_id', new_row->'user_id', 'detail', (new_row->'detail') - 'note')",
    ),
    Act(
        "job_failures",
        "UPDATE",
        "OLD.settled_at IS NULL AND NEW.settled_at IS NOT NULL",
        "dead_letter",
        "new_row->>'failure_id'",
        "'dead_letter.redriven'",
        "new_row->>'settled_by'",
        "jsonb_build_object('redrives', new_row->'redrives', 'request_id', new_row->'request_id')",
    ),
    Act(
        "sms_requests",
        "UPDATE",
        "OLD.rerun_after IS DISTINCT FROM NEW.rerun_after",
        "sms",
        "new_row->>'request_id'",
        "'sms.rerun'",
        "NULL::text",
        "jsonb_build_object('redrives', new_row->'redrives', 'user_id', new_row->'user_id')",
    ),
    Act(
        "outbox",
        "INSERT",
        "NEW.topic = 'digest-runs'",
        "digest",
        "new_row->>'message_id'",
        "'digest.requested'",
        "NULL::text",
        "jsonb_build_object('user_id', new_row->'key')",
    ),
)

REFUSALS = f"""
CREATE OR REPLACE TRIGGER audit_trail_no_update BEFORE UPDATE ON audit_trail
    FOR EACH ROW EXECUTE FUNCTION freshtrack_refuse_change();
CREATE OR REPLACE TRIGGER audit_trail_no_deletion BEFORE DELETE ON audit_trail
    FOR EACH ROW WHEN (OLD.at > now() - interval '{KEPT_DAYS} days') EXECUTE FUNCTION freshtrack_refuse_change();
CREATE OR REPLACE TRIGGER audit_trail_no_truncation BEFORE TRUNCATE ON audit_trail
    FOR EACH STATEMENT EXECUTE FUNCTION freshtrack_refuse_change();
CREATE OR REPLACE TRIGGER audit_personal_no_update BEFORE UPDATE ON audit_personal
    FOR EACH ROW EXECUTE FUNCTION freshtrack_refuse_change();
CREATE OR REPLACE TRIGGER audit_personal_no_deletion BEFORE DELETE ON audit_personal
    FOR EACH ROW EXECUTE FUNCTION freshtrack_keep_personal();
CREATE OR REPLACE TRIGGER audit_personal_no_truncation BEFORE TRUNCATE ON audit_personal
    FOR EACH STATEMENT EXECUTE FUNCTION freshtrack_refuse_change();
"""


def install(connection: Connection) -> None:
    """Create or replace the functions and triggers; any number of times."""
    for statement in (FUNCTIONS, REFUSALS, *map(_row_trigger, AUDITED), *map(_act_trigger, ACTS)):
        # asyncpg runs several statements at once only without a prepared one.
        for part in _statements(statement):
            connection.execute(text(part.replace(":", "\\:")))


def _statements(script: str) -> list[str]:
    """Its statements: bodies of functions stand between `$body$` and contain semicolons of their own."""
    parts, body = [""], False
    for line in script.strip().splitlines():
        parts[-1] += line + "\n"
        body ^= line.count("$body$") % 2 == 1
        if line.rstrip().endswith(";") and not body:
            parts.append("")
    return [part for part in parts if part.strip()]


def _row_trigger(audited: Audited) -> str:
    arguments = ", ".join(f"'{part}'" for part in audited[1:])
    return (
        f"CREATE OR REPLACE TRIGGER audit_changes AFTER INSERT OR UPDATE OR DELETE ON {audited.table}"
        f" FOR EACH ROW EXECUTE FUNCTION freshtrack_audit_row({arguments});"
    )


def _act_trigger(act: Act) -> str:
    return f"""
CREATE OR REPLACE FUNCTION freshtrack_audit_{act.table}() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE
    new_row jsonb := to_jsonb(NEW);
BEGIN
    INSERT INTO audit_trail (organization_id, actor, origin, action, subject_kind, subject_id, after)
    VALUES (
        coalesce(new_row->>'organization_id', {ORGANIZATION}),
        coalesce({ACTOR}, {act.actor}, 'database:' || session_user),
        {ORIGIN},
        {act.action},
        '{act.kind}',
        {act.subject},
        {act.after}
    );
    RETURN NULL;
END
$body$;
CREATE OR REPLACE TRIGGER audit_acts AFTER {act.on} ON {act.table}
    FOR EACH ROW WHEN ({act.when}) EXECUTE FUNCTION freshtrack_audit_{act.table}();
"""  # noqa: S608 - our own constants
