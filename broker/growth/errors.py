"""What `topics grow` cannot go on from."""

from __future__ import annotations


class GrowthError(RuntimeError):
    """Nothing is lost; the message says what to do, and the command can be run again."""
