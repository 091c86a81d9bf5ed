"""`audit-trail`: who changed what, when and from where, read through the API."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from cli.api_client import DEFAULT_URL, Url, api_client, items, reported
from cli.dead_letters import Organization
from cli.instants import instant


def audit_trail(
    organization: Organization = None,
    actor: Annotated[str | None, typer.Option(help="only changes by this contact, or `key:` and a key's id")] = None,
    action: Annotated[str | None, typer.Option(help="only this kind of change, such as rule.changed")] = None,
    kind: Annotated[str | None, typer.Option(help="only changes of this kind of thing, such as unit")] = None,
    subject: Annotated[str | None, typer.Option(help="only changes of the one with this id")] = None,
    since: Annotated[str | None, typer.Option(help="at or after: 2026-03-01T12:00Z, or 36h ago as 36h")] = None,
    until: Annotated[str | None, typer.Option(help="before: written like --since")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="how many, the newest first")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show changes of configuration and keys, acknowledgements and redrives, the newest first.

    A key for all organizations shows without --organization what concerns all of them.
    """
    filters = {
        "actor": actor,
        "action": action,
        "subject_kind": kind,
        "subject_id": subject,
        "since": None if since is None else instant("--since", since).isoformat(),
        "until": None if until is None else instant("--until", until).isoformat(),
    }
    query = {name: value for name, value in filters.items() if value is not None}
    with reported(), api_client(url, organization) as client:
        for entry in items(client, "/v1/audit", query, limit=limit):
            typer.echo(json.dumps(entry) if as_json else _line(entry))


def _line(entry: dict[str, Any]) -> str:
    origin = f" from {entry['origin']}" if entry["origin"] else ""
    before, after = entry["before"] or {}, entry["after"] or {}
    changes = ", ".join(
        f"{name} {json.dumps(before.get(name))} -> {json.dumps(after.get(name))}" for name in sorted(before | after)
    )
    return f"{entry['at']}  {entry['actor']}{origin}  {entry['action']} {entry['subject_id']}: {changes}"


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("audit-trail", rich_help_panel="Operations")(audit_trail)
