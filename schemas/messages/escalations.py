"""The course of an alert's escalation: what is due, what became of its SMS, and the steps that were taken."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from schemas.messages.fields import AtMs, Id


class EscalationEvent(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Something about the escalation of one alert; key: unit id."""

    alert_id: Id
    unit_id: Id
    organization_id: Id
    level: Annotated[int, Meta(ge=1)]
    at_ms: AtMs


class NotAskedBecause(StrEnum):
    """Why a step of an escalation passed somebody over."""

    OFF_DUTY = "off_duty"
    SEVERITY = "severity"
    """The contact wants SMS about graver alerts only."""
    LATER_LEVEL = "later_level"
    EARLIER_LEVEL = "earlier_level"
    """Asked before, or came on duty after that level's turn."""


class NotAsked(Struct, frozen=True):
    user_id: Id
    because: NotAskedBecause


class EscalationDue(EscalationEvent, frozen=True, kw_only=True, tag="escalation_due"):
    """Nobody answered at `level` in time: the next one is due. A timer's word; the state decides whether it holds."""


class PageDelivered(EscalationEvent, frozen=True, kw_only=True, tag="sms_heard"):
    """An SMS of `level` is on the phone of `user_id`."""

    user_id: Id


class PageUndelivered(EscalationEvent, frozen=True, kw_only=True, tag="sms_missed"):
    """An SMS of `level` will not reach `user_id`, or nobody will know: do not wait for an answer."""

    user_id: Id
    because: str


class EscalationStepped(EscalationEvent, frozen=True, kw_only=True, tag="escalation_stepped"):
    """The people of `level` are told now."""

    user_ids: tuple[Id, ...]
    not_asked: tuple[NotAsked, ...] = ()


class EscalationEnded(EscalationEvent, frozen=True, kw_only=True, tag="escalation_ended"):
    """The chain is at its end and nobody answered: somebody in charge must look."""

    because: str
    not_asked: tuple[NotAsked, ...] = ()


class PageReplied(EscalationEvent, frozen=True, kw_only=True, tag="page_replied"):
    """Somebody who was paged answered by SMS. `meaning` is what we understood."""

    user_id: Id
    meaning: str
    text: Annotated[str, Meta(max_length=1600)]


class FallbackAsked(EscalationEvent, frozen=True, kw_only=True, tag="fallback_asked"):
    """Nobody is left to reach: the organization's fallback contact is paged (null: it has none), operators hear it."""

    user_id: Id | None
    because: str


Escalation = (
    EscalationDue | PageDelivered | PageUndelivered | EscalationStepped | EscalationEnded | FallbackAsked | PageReplied
)
