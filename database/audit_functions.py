"""What the triggers of the audit trail run, in PL/pgSQL: write an entry, and refuse what would change one."""

# The database refuses to delete entries that are younger, whatever the retention setting says.
KEPT_DAYS = 365

_SETTING = "nullif(current_setting('freshtrack.{}', true), '')"
ACTOR = _SETTING.format("actor")
ORIGIN = _SETTING.format("origin")
ORGANIZATION = _SETTING.format("organization")

# `masked` replaces what looks like a secret by its name; a changed secret shows as a change without values.
FUNCTIONS = f"""
CREATE OR REPLACE FUNCTION freshtrack_masked(columns jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $body$
    SELECT CASE WHEN columns IS NULL THEN NULL ELSE coalesce(jsonb_object_agg(
        name, CASE WHEN name ~ '(secret|password|token|sha256|payload)' THEN '"(not shown)"'::jsonb ELSE value END
    ), '{{}}') END FROM jsonb_each(columns) AS found(name, value)
$body$;

CREATE OR REPLACE FUNCTION freshtrack_part(columns jsonb, names text[], inside boolean)
RETURNS jsonb LANGUAGE sql IMMUTABLE AS $body$
    SELECT jsonb_object_agg(name, value) FROM jsonb_each(columns) AS found(name, value)
    WHERE (name = ANY(names)) = inside
$body$;

CREATE OR REPLACE FUNCTION freshtrack_hashed(number text) RETURNS text LANGUAGE sql IMMUTABLE AS $body$
    SELECT CASE WHEN number LIKE 'sha256:%' THEN number
    ELSE 'sha256:' || encode(sha256(convert_to(number, 'UTF8')), 'hex') END
$body$;

CREATE OR REPLACE FUNCTION freshtrack_audit_row() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE
    kind text := TG_ARGV[0];
    keys text[] := string_to_array(TG_ARGV[1], ' ');
    personal text[] := string_to_array(TG_ARGV[2], ' ');
    left_out text[] := string_to_array(TG_ARGV[3], ' ');
    old_row jsonb := CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE to_jsonb(OLD) END;
    new_row jsonb := CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE to_jsonb(NEW) END;
    any_row jsonb := coalesce(new_row, old_row);
    old_part jsonb := old_row - left_out;
    new_part jsonb := new_row - left_out;
    owner text := any_row->>'organization_id';
    entry bigint;
BEGIN
    -- What concerns nobody in particular cannot be erased either, so it belongs to the entry itself.
    IF any_row->>'user_id' IS NULL THEN
        personal := '{{}}';
    END IF;
    IF TG_OP = 'UPDATE' THEN
        SELECT jsonb_object_agg(name, value), jsonb_object_agg(name, new_row->name) INTO old_part, new_part
        FROM jsonb_each(old_row - left_out) AS found(name, value) WHERE value IS DISTINCT FROM new_row->name;
        IF old_part IS NULL THEN
            RETURN NULL;
        END IF;
    END IF;
    IF owner IS NULL AND any_row ? 'unit_id' THEN
        SELECT organization_id INTO owner FROM units WHERE unit_id = any_row->>'unit_id';
    END IF;
    INSERT INTO audit_trail (organization_id, actor, origin, action, subject_kind, subject_id, before, after)
    VALUES (
        coalesce(owner, {ORGANIZATION}),
        coalesce({ACTOR}, 'database:' || session_user),
        {ORIGIN},
        kind || CASE TG_OP WHEN 'INSERT' THEN '.created' WHEN 'UPDATE' THEN '.changed' ELSE '.deleted' END,
        kind,
        (SELECT string_agg(
            CASE name WHEN 'phone_e164' THEN freshtrack_hashed(any_row->>name) ELSE any_row->>name END,
            ' ' ORDER BY place)
         FROM unnest(keys) WITH ORDINALITY AS named(name, place)),
        freshtrack_masked(freshtrack_part(old_part, personal, false)),
        freshtrack_masked(freshtrack_part(new_part, personal, false))
    ) RETURNING entry_id INTO entry;
    IF coalesce(old_part, '{{}}') ?| personal OR coalesce(new_part, '{{}}') ?| personal THEN
        INSERT INTO audit_personal (entry_id, user_id, before, after) VALUES (
            entry,
            any_row->>'user_id',
            freshtrack_part(old_part, personal, true),
            freshtrack_part(new_part, personal, true)
        );
    END IF;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE FUNCTION freshtrack_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    RAISE EXCEPTION '% on % is refused: the audit trail is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
        HINT = 'Entries may be deleted after {KEPT_DAYS} days, personal values also by an erasure.';
END
$body$;

CREATE OR REPLACE FUNCTION freshtrack_person_is_erased(person text) RETURNS boolean LANGUAGE sql STABLE AS $body$
    SELECT EXISTS (SELECT FROM erasures WHERE user_sha256 = sha256(convert_to(person, 'UTF8')))
$body$;

CREATE OR REPLACE FUNCTION freshtrack_keep_personal() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF freshtrack_person_is_erased(OLD.user_id) OR NOT EXISTS (
        SELECT FROM audit_trail WHERE entry_id = OLD.entry_id AND at > now() - interval '{KEPT_DAYS} days'
    ) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'DELETE on audit_personal is refused: only an erasure deletes it before {KEPT_DAYS} days'
        USING ERRCODE = 'insufficient_privilege';
END
$body$;
"""  # noqa: S608 - our own constants
