"""What the recorder counts, for its metrics."""

from __future__ import annotations

from collections import Counter


class Counts:
    """What all flows of a worker recorded."""

    def __init__(self) -> None:
        self.records: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        self.unusable: Counter[tuple[str, str]] = Counter()
