"""Which units are judged together when one of them goes offline."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

from domain.detection.offline import group_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas import messages as m
    from streams.engine.interfaces import Entries

# To index the units of all gateways costs too much for every change of one of them.
INDEX_EVERY_S = 5.0


class GatewayUnits:
    """The configured units of a group, at most five seconds old."""

    def __init__(self, units: Entries[m.UnitConfig]) -> None:
        self._units = units
        self._version = -1
        self._indexed_s = float("-inf")
        self._by_group: dict[str, list[m.UnitConfig]] = {}

    def of(self, group: str) -> Sequence[m.UnitConfig]:
        kind, _, name = group.partition(":")
        if kind == "unit":
            config = self._units.get(name)
            return () if config is None else (config,)
        if self._version != self._units.version and time.monotonic() - self._indexed_s >= INDEX_EVERY_S:
            self._version, self._indexed_s = self._units.version, time.monotonic()
            self._by_group = defaultdict(list)
            for config in self._units.values():
                if config.gateway_id is not None:
                    self._by_group[group_of(config)].append(config)
        return self._by_group.get(group, ())
