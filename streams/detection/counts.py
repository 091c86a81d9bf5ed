"""What detection counts: the worker exports it as metrics."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from schemas.headers import type_name
from schemas.messages import DeadLetterReason  # noqa: TC001 - msgspec reads the annotation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from domain.detection.reading_validation import Refusal
    from domain.detection.threshold import Tally
    from schemas.messages import Alert


class DetectionCounts(msgspec.Struct):
    """Since the start of the worker: records, readings by what became of them, alerts by type.

    `evaluated` went through the rules, `late` of them were older than the unit's live window; `repeated`,
    `out_of_order` and `already_seen` (in a record that was read again) moved nothing. `dead` counts refused readings,
    or records where these cannot be told, by reason. `buckets` were published, revisions included; `offline` units were
    reported. An alert's type is its tag.
    """

    records: int = 0
    evaluated: int = 0
    late: int = 0
    repeated: int = 0
    out_of_order: int = 0
    already_seen: int = 0
    buckets: int = 0
    offline: int = 0
    dead: Counter[DeadLetterReason] = msgspec.field(default_factory=Counter)
    alerts: Counter[str] = msgspec.field(default_factory=Counter)

    def add(self, tally: Tally) -> None:
        self.evaluated += tally.evaluated
        self.late += tally.late
        self.repeated += tally.repeated
        self.out_of_order += tally.out_of_order
        self.already_seen += tally.already_seen

    def add_outputs(self, alerts: Iterable[Alert], refusals: Iterable[Refusal]) -> None:
        for alert in alerts:
            self.alerts[type_name(type(alert))] += 1
        for refusal in refusals:
            self.dead[refusal.reason] += refusal.count
