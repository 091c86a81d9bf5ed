"""What the workers would only put among the dead letters is refused before it is sent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from producers.errors import BatchError

if TYPE_CHECKING:
    from schemas import messages as m


def check_batch(batch: m.ReadingBatch) -> None:
    """Refuse what the workers would only put among the dead letters; raises BatchError."""
    if not 1 <= len(batch.unit_id) <= 200:
        raise BatchError(
            f"the unit id {batch.unit_id[:40]!r} has {len(batch.unit_id)} characters; it must have 1 to 200"
        )
    if not batch.readings:
        raise BatchError(f"the batch of unit {batch.unit_id} has no readings; send at least one")
    for reading in batch.readings:
        # JSON has no such numbers: they would arrive as null.
        if not math.isfinite(reading.temperature_c):
            raise BatchError(
                f"unit {batch.unit_id}: {reading.temperature_c} at {reading.at_ms} is not a temperature;"
                " leave the reading out where the sensor has none"
            )
