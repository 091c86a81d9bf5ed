"""How many readings a second each organization may send by HTTP; the operator of the installation sets it."""

from __future__ import annotations

from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING

from prometheus_client import Counter

from api.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.authentication import Caller

REFUSED = Counter("freshtrack_api_readings_over_quota", "Readings refused for a while", ["organization"])
# What gathered while a network was away may come at once.
BURST_S = 10.0


class ReadingQuotas:
    """The generic cell rate algorithm per organization, in this process; `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._used_until: dict[str, float] = {}

    def use(self, caller: Caller, readings: int) -> None:
        """Raises Problem (429) with the time to wait. A request larger than the burst passes where nothing was used."""
        per_s = caller.readings_per_s
        if per_s is None:
            return
        now = self._clock()
        used_until = max(self._used_until.get(caller.organization_id, now), now)
        wait_s = min(used_until - now, used_until + readings / per_s - now - BURST_S)
        if wait_s > 0:
            REFUSED.labels(caller.organization_id).inc(readings)
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"Your organization may send {per_s} readings a second. Send these {readings} again later.",
                headers={"Retry-After": str(ceil(wait_s))},
            )
        self._used_until[caller.organization_id] = used_until + readings / per_s
