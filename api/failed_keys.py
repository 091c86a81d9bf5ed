"""Failed authentications by address: whoever tries keys out is slowed down before the database is asked."""

from __future__ import annotations

from collections import OrderedDict
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from api.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

ADDRESSES = 10_000
IPV6_NETWORK_BITS = 64


class FailedKeys:
    """Allows `per_min` failures at once, and as many again over a minute (GCRA). `clock` is monotonic, in seconds."""

    def __init__(self, per_min: float, clock: Callable[[], float]) -> None:
        self._interval_s = 60.0 / per_min
        self._clock = clock
        self._used_until: OrderedDict[str, float] = OrderedDict()

    def count(self, address: str) -> None:
        """One more failure from this address."""
        network = _network(address)
        used_until = max(self._used_until.pop(network, 0.0), self._clock()) + self._interval_s
        self._used_until[network] = used_until
        if len(self._used_until) > ADDRESSES:
            self._used_until.popitem(last=False)

    def refuse_if_too_many(self, address: str) -> None:
        """Raises Problem (429) with the time to wait."""
        wait_s = self._used_until.get(_network(address), 0.0) - self._clock() - (60.0 - self._interval_s)
        if wait_s > 0:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "Too many API keys from this address were not valid.",
                headers={"Retry-After": str(int(wait_s) + 1)},
            )


def _network(address: str) -> str:
    """An IPv6 customer has a whole /64."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(int(parsed) >> (128 - IPV6_NETWORK_BITS))
    return address
