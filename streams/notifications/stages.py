"""The stages of an SMS, put together: waiting room → limiter → attempt → conclusion, and what receipts change after."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from streams.notifications.attempt import Attempts
from streams.notifications.conclusion import Conclusion
from streams.notifications.deliveries import Deliveries
from streams.notifications.ledger import Ledger
from streams.notifications.outcomes import Outcomes
from streams.notifications.plans import Planner
from streams.notifications.rate_limiter import RateLimiter
from streams.notifications.receipts_to_sms import Receipts
from streams.notifications.replies import Replies
from streams.notifications.second_way import SecondWay
from streams.notifications.sms_retries_to_sms import Retries
from streams.notifications.sms_to_provider import SmsToProvider
from streams.notifications.status_polls import StatusPolls
from streams.notifications.waiting_room import WaitingRoom

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection

    from schemas import messages as m
    from streams.engine.interfaces import Clock, Entries, Publish, Rows
    from streams.engine.timers import Timers
    from streams.notifications.closed_alerts import Closed
    from streams.notifications.page_emails import PageEmails
    from streams.notifications.provider import Provider
    from streams.notifications.rate_limiter import Limits
    from streams.notifications.sms_policy import SmsPolicy


class Surroundings(NamedTuple):
    """What all stages share."""

    provider: Provider
    table: Rows
    timers: Timers
    contacts: Entries[m.Contact]
    organizations: Entries[m.Organization]
    emails: PageEmails
    closed: Closed
    publish: Publish
    policy: SmsPolicy
    now_ms: Clock
    rng: random.Random


class Stages(NamedTuple):
    ledger: Ledger
    room: WaitingRoom
    limiter: RateLimiter
    attempts: Attempts
    conclusion: Conclusion
    sms: SmsToProvider
    second_way: SecondWay
    deliveries: Deliveries
    replies: Replies
    polls: StatusPolls
    receipts: Receipts
    retries: Retries


def build_stages(
    around: Surroundings, *, limits: Limits, owned: Callable[[], Collection[int]], polls_at_once: int
) -> Stages:
    """`owned` gives the lanes' partitions that are ours now."""
    publish, now_ms, policy = around.publish, around.now_ms, around.policy
    ledger, outcomes = Ledger(around.table), Outcomes(now_ms)
    limiter = RateLimiter(limits, owned, now_ms)
    second_way = _second_way(around, ledger)
    room = WaitingRoom(second_way.watch)
    conclusion = Conclusion(
        publish=publish,
        outcomes=outcomes,
        ledger=ledger,
        timers=around.timers,
        second_way=second_way,
        policy=policy,
        now_ms=now_ms,
    )
    attempts = Attempts(
        provider=around.provider,
        limiter=limiter,
        ledger=ledger,
        outcomes=outcomes,
        closed=around.closed,
        publish=publish,
        policy=policy,
        now_ms=now_ms,
        rng=around.rng,
    )
    sms = SmsToProvider(
        room=room,
        planner=Planner(ledger, around.contacts, around.closed, limits.partitions, policy),
        limiter=limiter,
        attempts=attempts,
        conclusion=conclusion,
        ledger=ledger,
        outcomes=outcomes,
        publish=publish,
        now_ms=now_ms,
    )
    after = _after_acceptance(around, ledger, outcomes, conclusion, second_way, polls_at_once)
    return Stages(ledger, room, limiter, attempts, conclusion, sms, second_way, *after)


def _second_way(around: Surroundings, ledger: Ledger) -> SecondWay:
    return SecondWay(
        emails=around.emails,
        ledger=ledger,
        closed=around.closed,
        contacts=around.contacts,
        organizations=around.organizations,
        timers=around.timers,
        publish=around.publish,
        now_ms=around.now_ms,
    )


def _after_acceptance(
    around: Surroundings,
    ledger: Ledger,
    outcomes: Outcomes,
    conclusion: Conclusion,
    second_way: SecondWay,
    polls_at_once: int,
) -> tuple[Deliveries, Replies, StatusPolls, Receipts, Retries]:
    """What becomes of an SMS once the provider has it, or did not take it."""
    publish, now_ms, policy = around.publish, around.now_ms, around.policy
    deliveries = Deliveries(
        provider=around.provider,
        publish=publish,
        outcomes=outcomes,
        ledger=ledger,
        conclusion=conclusion,
        timers=around.timers,
        policy=policy,
        now_ms=now_ms,
        rng=around.rng,
    )
    replies = Replies(publish=publish, outcomes=outcomes, ledger=ledger, closed=around.closed, now_ms=now_ms)
    polls = StatusPolls(
        provider=around.provider,
        publish=publish,
        outcomes=outcomes,
        ledger=ledger,
        conclusion=conclusion,
        deliveries=deliveries,
        policy=policy,
        now_ms=now_ms,
        at_once=polls_at_once,
    )
    receipts = Receipts(deliveries=deliveries, replies=replies, ledger=ledger, publish=publish, now_ms=now_ms)
    retries = Retries(around.timers, polls, second_way, lambda user: ledger.lock(user).locked(), publish, now_ms)
    return deliveries, replies, polls, receipts, retries
