"""`sms rerun`: send a finished SMS again, through the API."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from cli.api_client import DEFAULT_URL, Url, answer, api_client, document, reported
from cli.dead_letters import Force, MaxAge, Organization

commands = typer.Typer(no_args_is_help=True, help="SMS.")


@commands.command()
def rerun(
    request_id: Annotated[str, typer.Argument(help="as in the SMS log and in `sms-outcomes`")],
    organization: Organization = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done, do nothing")] = False,
    force: Force = False,
    max_age_h: MaxAge = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Send an SMS again that was delivered, rate-limited, cancelled or opted out of. Exits 1 if it is refused.

    The request is read from its lane, which keeps it for 7 days.
    """
    order = {"force": force, "dry_run": dry_run} | ({} if max_age_h is None else {"max_age_h": max_age_h})
    with reported(), api_client(url, organization) as client:
        found = answer(client, "POST", f"/v1/sms/{quote(request_id, safe='')}/rerun", body=order)
        if (refused := found.json() if found.status_code == 409 else {}).get("reason"):
            typer.secho(f"{request_id}  refused ({refused['reason']}): {refused['detail']}", fg="red", err=True)
            raise typer.Exit(1)
        again = document(found)
    where = f"{again['sent_to']} as redrive {again['redrives']}"
    typer.echo(f"{request_id}  {'would go to' if dry_run else 'sent to'} {where}")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(commands, name="sms", rich_help_panel="Operations")
