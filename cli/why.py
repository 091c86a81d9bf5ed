"""`why`: everything that happened about an alert, and why the others were not notified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from cli.api_client import DEFAULT_URL, Url, answer, api_client, document, items, reported
from cli.dead_letters import Organization

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SEVERITIES = ("info", "warning", "critical")


def why(
    alert: Annotated[str, typer.Argument(help="the alert's id")],
    organization: Organization = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Why was somebody, or nobody, notified? Shows an alert's events, and who was considered and not asked.

    Alerts of earlier versions have no such record: for them the present configuration is looked at.
    """
    path = f"/v1/alerts/{quote(alert, safe='')}"
    with reported(), api_client(url, organization) as client:
        about = document(answer(client, "GET", path))
        events = list(items(client, f"{path}/timeline"))
        contacts = list(items(client, "/v1/contacts"))
    typer.echo(f"{about['kind']} of {about['unit_id']}, {about['severity']}, since {about['started_at']}")
    for event in events:
        typer.echo(f"{event['at']:27}  {event_line(event)}")
    if about["silent_because"]:
        typer.echo(f"nobody was to be notified: {about['silent_because']}")
    if any("not_asked" in event["detail"] for event in events):
        return  # the steps say whom they passed over, as it was then
    asked = {event["user_id"] for event in events if event["event"] == "sms_requested"}
    for name, reason in not_asked(about, contacts, asked, level=reached(events)):
        typer.echo(f"{name}: no SMS; {reason}")


def event_line(event: Mapping[str, Any]) -> str:
    """An event in one line: what, who, and the details that explain it."""
    detail = dict(event["detail"])
    who = f" {event['user_id']}" if event["user_id"] else ""
    if event["event"] == "sms_rate_limited":
        return f"sms_rate_limited{who}: not before {detail['until']}, because of the SMS {detail['by_request_id']}"
    if "not_asked" in detail:
        passed_over = detail.pop("not_asked").replace("_", " ")
        return f"{event_line({**event, 'detail': detail})}; not asked: {passed_over}"
    if event["event"] == "sms_named":
        return f"sms_named{who}: the SMS {detail['by_request_id']} named this alert"
    words = ", ".join(f"{name} {value}" for name, value in detail.items())
    return f"{event['event']}{who}{': ' if words else ''}{words}"


def reached(events: Sequence[Mapping[str, Any]]) -> int:
    """The highest level of the escalation that was asked."""
    steps = ("sms_requested", "escalation_stepped")
    return max((int(event["detail"].get("level", 1)) for event in events if event["event"] in steps), default=1)


def not_asked(
    alert: Mapping[str, Any], contacts: Sequence[Mapping[str, Any]], asked: set[str], *, level: int
) -> Iterator[tuple[str, str]]:
    """Contacts that no SMS was requested for, each with the reason as the contact is configured now."""
    severity = SEVERITIES.index(alert["severity"])
    for contact in contacts:
        if contact["user_id"] in asked:
            continue
        if contact["phone_e164"] is None:
            reason = "has no phone number"
        elif contact["sms_opted_out"]:
            reason = "the number opted out of SMS"
        elif not contact["on_duty"]:
            reason = "is off duty now"
        elif SEVERITIES.index(contact["minimum_severity"]) > severity:
            reason = f"wants SMS from {contact['minimum_severity']} on"
        elif contact["escalation_level"] > level:
            reason = f"is at level {contact['escalation_level']}, the escalation came to {level}"
        else:
            reason = "nothing in the present configuration explains it: it may have changed since"
        yield contact["user_id"], reason


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel="Operations")(why)
