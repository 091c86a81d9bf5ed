"""The refusals of readings that no bucket takes, in the records that brought them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.detection.reading_validation import Refusal, refuse
from schemas.messages import DeadLetterReason as Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from domain.detection.aggregate_state import Policy
    from domain.detection.readings import Run


def refused_by_buckets(
    refused: Mapping[tuple[bytes, Reason], set[int]], runs: Mapping[bytes, Run], policy: Policy
) -> list[Refusal]:
    """`refused` has the times of readings by the key of their run and the reason."""
    refusals: list[Refusal] = []
    for (key, reason), times in refused.items():
        for record, batch in runs[key].pairs:
            shown = [reading for reading in batch.readings if reading.at_ms in times]
            if shown:
                detail = _detail(reason, shown[0].at_ms, policy)
                refusals.append(refuse(record, reason, detail, shown, len(shown), whole=False))
    return refusals


def _detail(reason: Reason, at_ms: int, policy: Policy) -> str:
    if reason is Reason.TOO_MANY:
        return f"the bucket of {at_ms} has {policy.max_readings} readings, which is all it may: measure less often"
    return f"the bucket of {at_ms} is closed for good: readings may come {policy.keep_ms // 3_600_000} h late"
