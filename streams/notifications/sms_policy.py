"""What decides about each SMS; every number comes from the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from schemas import messages as m  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from domain.notification.receipts import Waits
    from domain.notification.retry import RetryPolicy


class SmsPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """`receipts`: whether the provider's webhooks reach us. `window_ms` of 0 switches the rate limit off.

    `strict` is the plain rule: one SMS a user and kind in a window, and the others are only logged. Without it a
    critical alert of another unit is gathered with others for `gather_ms`, and at most `most_critical` SMS about
    critical alerts leave to a user in a window.
    """

    window_ms: int
    strict: bool
    gather_ms: int
    most_critical: int
    late_ms: int
    receipts: bool
    waits: Waits
    retry: RetryPolicy
    deadlines_ms: dict[m.Severity, int]

    @property
    def receipt_wait_ms(self) -> int | None:
        """How long a receipt may take to prove that an unanswered request arrived; None when none can come."""
        return self.waits.receipt_ms if self.receipts else None

    def deadline_ms(self, request: m.SmsRequest, begun_at_ms: int) -> int:
        """When `request`, which began to be sent at `begun_at_ms`, is too old to be sent."""
        return begun_at_ms + self.deadlines_ms[request.severity]
