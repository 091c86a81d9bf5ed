"""What a reading can be at all; the one place for these bounds.

Physical bounds: -100 °C lies below what any compressor freezer reaches (ultra-low freezers hold -86 °C) and above the
-127 °C that Dallas/Maxim drivers report for a probe that is not connected; +150 °C lies above a steam autoclave
(134 °C, EN 285), the hottest thing that one of our probes legitimately meets. A rule's limit has the same bounds.
"""

from __future__ import annotations

COLDEST_C = -100.0
WARMEST_C = 150.0
EARLIEST_MS = 946_684_800_000
"""2000-01-01: an earlier time is a dead clock, or seconds where milliseconds belong."""
LATEST_MS = 253_402_300_799_999
"""The end of the year 9999."""
FUTURE_MS = 300_000
"""How far a device's clock may be ahead of the worker's."""
LONGEST_VOUCH_MS = 7 * 86_400_000
"""For how long a reading may vouch for its unit: the expected interval times the missed intervals."""
