"""What the log says of each decision about an SMS."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import structlog

from domain.notification.decisions import (
    AwaitReceipt,
    Cancelled,
    Dead,
    Deferred,
    HeldBack,
    OptedOut,
    Paused,
    RateLimited,
    RetryAt,
    Sent,
)

if TYPE_CHECKING:
    from domain.notification.decisions import Decision
    from schemas import messages as m

log = structlog.get_logger(__name__)


def log_decision(request: m.SmsRequest, attempt: int, decision: Decision) -> None:  # noqa: C901 - one for each
    about = {"request": request.request_id, "alert": request.alert_id, "user": request.user_id, "attempt": attempt}
    match decision:
        case Sent():
            log.info("sms.sent", **about)
        case HeldBack(until_at_ms, by_request_id):
            log.info("sms.held_back", until_at_ms=until_at_ms, by=by_request_id, **about)
        case RateLimited(until_at_ms, by_request_id):
            log.info("sms.rate_limited", until_at_ms=until_at_ms, by=by_request_id, **about)
        case Cancelled(because):
            log.info("sms.cancelled", because=because, **about)
        case OptedOut():
            log.info("sms.opted_out", **about)
        case Dead(reason, code, error, notify_ops):
            level = log.error if notify_ops else log.warning
            level("sms.dead", reason=reason, code=code, error=error, **about)
        case RetryAt(due_at_ms, code, error):
            log.warning("sms.retry", due_at_ms=due_at_ms, code=code, error=error, **about)
        case AwaitReceipt(until_at_ms, code, error):
            log.warning("sms.awaits_receipt", until_at_ms=until_at_ms, code=code, error=error, **about)
        case Deferred(until_at_ms, code, _):
            log.info("sms.deferred", until_at_ms=until_at_ms, code=code, **about)
        case Paused(code, error):
            log.warning("sms.deferred", code=code, error=error, **about)
        case _:
            assert_never(decision)
