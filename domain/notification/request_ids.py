"""Ids of SMS requests and their attempts, made of what they are about, so that a re-run makes the same ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.identity import derived_id

if TYPE_CHECKING:
    from schemas import messages as m


def sms_request_id(alert_id: str, user_id: str, level: int, chain_round: int = 0) -> str:
    """One request for each alert, user, escalation level and round of the chain, however often the alert is read."""
    again = (chain_round,) if chain_round else ()
    return derived_id("sms request", alert_id, user_id, level, *again)


def all_clear_request_id(alert_id: str, user_id: str) -> str:
    """The SMS that tells somebody who was paged that the alert is over."""
    return derived_id("sms request", alert_id, user_id, "all clear")


def confirmation_request_id(event_id: str, alert_id: str, user_id: str) -> str:
    """The SMS that answers an acknowledgement by SMS."""
    return derived_id("sms request", alert_id, user_id, "confirmation", event_id)


def worse_request_id(alert_id: str, user_id: str, severity: m.Severity) -> str:
    """The SMS that notifies somebody that an alert, known to page, rose to `severity`: once a severity."""
    return derived_id("sms request", alert_id, user_id, "worse", severity)


def notify_now_request_id(command: m.NotifyNow, user_id: str) -> str:
    """The SMS to `user_id` that a person asked for: one a command."""
    return derived_id("sms request", command.alert_id, user_id, "ordered", command.user_id, command.at_ms)


def attempt_id(request_id: str, attempt: int, redrives: int = 0, provider_failures: int = 0) -> str:
    """One try of a request; it stands in the webhook's address. A person's redrive counts attempts from 1 again."""
    again = (provider_failures,) if provider_failures else ()
    return derived_id("sms attempt", request_id, redrives, attempt, *again)
