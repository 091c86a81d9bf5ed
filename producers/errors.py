"""Why a message did not reach Kafka."""

from __future__ import annotations


class BatchError(ValueError):
    """A batch cannot be sent as it is; the message names the value, the rule and the way out."""


class BatchTooLargeError(BatchError):
    """More bytes than the topic takes."""


class QueueFullError(RuntimeError):
    """The producer holds as much unsent as it may: the broker is slower than the sender, or away."""


class NotDeliveredError(RuntimeError):
    """The broker refused a message, or did not acknowledge it in time."""
