"""`dead-letters`: list what was given up, and send it again, through the API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.api_client import DEFAULT_URL, Url, answer, api_client, document, items, problems, reported
from cli.instants import instant
from schemas.http.dead_letters import DeadLetterKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

commands = typer.Typer(no_args_is_help=True, help="Dead letters: list what was given up, and send it again.")

CALL = 500

Kind = Annotated[DeadLetterKind | None, typer.Option(help="only these", show_default="all")]
Organization = Annotated[str | None, typer.Option(help="whose; for keys that are for all organizations")]
User = Annotated[str | None, typer.Option(help="only for this user")]
Reason = Annotated[str | None, typer.Option(help="only given up for this reason, such as exhausted")]
Code = Annotated[str | None, typer.Option(help="only with this error code, such as 40001 or timeout")]
Since = Annotated[str | None, typer.Option(help="given up at or after: 2026-03-01T12:00Z, or 36h ago as 36h")]
Until = Annotated[str | None, typer.Option(help="given up before: written like --since")]
Force = Annotated[bool, typer.Option("--force", help="overrule objections that can be overruled")]
MaxAge = Annotated[
    float | None, typer.Option(min=0, help="hours; anything older is refused as stale", show_default="the API's, 24")
]


@commands.command("list")
def list_(
    kind: Kind = None,
    organization: Organization = None,
    user: User = None,
    reason: Reason = None,
    code: Code = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="how many, the newest first")] = 50,
    open_only: Annotated[bool, typer.Option("--open", help="only what nobody settled")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show dead letters, the newest first; numbers and addresses are masked.

    A key for all organizations shows without --organization what names none, such as unreadable records.
    """
    query = _filter(kind, user, reason, code, since, until) | ({"settled": False} if open_only else {})
    with reported(), api_client(url, organization) as client:
        shown = 0
        for dead in items(client, "/v1/dead-letters", query, limit=limit):
            shown += 1
            typer.echo(json.dumps(dead) if as_json else _as_line(dead))
    if not as_json:
        typer.echo(f"{shown} dead letters{', there may be more' if shown == limit else ''}")


@commands.command()
def redrive(
    numbers: Annotated[list[int] | None, typer.Argument(metavar="NUMBER...", help="as `list` shows them")] = None,
    kind: Kind = None,
    organization: Organization = None,
    user: User = None,
    reason: Reason = None,
    code: Code = None,
    since: Since = None,
    until: Until = None,
    everything: Annotated[bool, typer.Option("--all", help="a filter that matches all")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="how many that match, the oldest first")] = 500,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done, do nothing")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="with a filter: do it")] = False,
    force: Force = False,
    max_age_h: MaxAge = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Send dead letters again: those with the given numbers, or those that match a filter and that nobody settled.

    With a filter nothing is sent without --yes. A dead letter that is too old, was sent again five times, or is about
    an alert that has ended is refused; --force overrules that. Exits 1 if a dead letter that was named is refused.
    """
    wanted = _filter(kind, user, reason, code, since, until)
    filtered = everything or bool(wanted)
    if bool(numbers) == filtered:
        raise typer.BadParameter("give numbers of dead letters, or a filter (--all matches every one); not both")
    dry_run = dry_run or (filtered and not yes)
    order = {"force": force, "dry_run": dry_run} | ({} if max_age_h is None else {"max_age_h": max_age_h})
    sent = refused = 0
    with reported(), api_client(url, organization) as client:
        for item in _matching(client, order | wanted, limit) if filtered else _named(client, numbers or [], order):
            sent += item["again"] is not None
            refused += item["again"] is None
            typer.echo(_result(item, dry_run=dry_run))
    typer.echo(f"{sent} {'would be sent again' if dry_run else 'sent again'}, {refused} refused")
    if dry_run:
        typer.echo("nothing was done")
    raise typer.Exit(int(refused > 0 and not filtered))


def _named(client: httpx.Client, numbers: list[int], order: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for number in dict.fromkeys(numbers):
        found = answer(client, "POST", f"/v1/dead-letters/{number}/retry", body=order)
        item: dict[str, Any] = {"failure_id": number, "again": None, "refusal": None}
        if found.is_success:
            yield item | {"again": found.json()}
        elif found.status_code in {404, 409}:
            [(_, words)] = problems(found)
            problem = found.json()
            refusal = {"reason": problem.get("reason", "unknown"), "detail": problem.get("detail", words)}
            yield item | {"refusal": refusal}
        else:
            document(found)


def _matching(client: httpx.Client, order: dict[str, Any], limit: int) -> Iterator[dict[str, Any]]:
    after: dict[str, int] = {}
    while limit > 0:
        body = order | {"limit": min(limit, CALL)} | after
        report = document(answer(client, "POST", "/v1/dead-letters/retry", body=body))
        yield from report["items"]
        limit -= len(report["items"])
        if report["next_after"] is None:
            return
        after = {"after_failure_id": report["next_after"]}
    typer.echo("more match: run it again")


def _filter(
    kind: DeadLetterKind | None,
    user: str | None,
    reason: str | None,
    code: str | None,
    since: str | None,
    until: str | None,
) -> dict[str, Any]:
    """The fields of the API's filter, without those that are not set."""
    fields = {
        "kind": None if kind is None else kind.value,
        "user_id": user,
        "reason": reason,
        "error_code": code,
        "since": None if since is None else instant("--since", since).isoformat(),
        "until": None if until is None else instant("--until", until).isoformat(),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _result(item: dict[str, Any], *, dry_run: bool) -> str:
    if item["again"] is None:
        return f"{item['failure_id']:>8}  refused ({item['refusal']['reason']}): {item['refusal']['detail']}"
    again = item["again"]
    verb = "would go" if dry_run else "sent"
    return f"{item['failure_id']:>8}  {verb} to {again['sent_to']} as redrive {again['redrives']}"


def _as_line(dead: dict[str, Any]) -> str:
    settled = f"  settled by {dead['settled_by']}" if dead["settled_by"] else ""
    return (
        f"{dead['failure_id']:>8}  {dead['failed_at']:20.20} {dead['lane']:14} {dead['user_id'] or '-':12}"
        f" {dead['reason']} {dead['error_code']}, attempts {dead['attempts']}, redrives {dead['redrives']}:"
        f" {dead['error']}  [{dead['letter']}]{settled}"
    )


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(commands, name="dead-letters", rich_help_panel="Operations")
