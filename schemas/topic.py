"""What a topic is: a declaration of its name, its messages, its retention and its one writer."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import msgspec

if TYPE_CHECKING:
    from types import UnionType

T_co = TypeVar("T_co", covariant=True)

_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_encode_state = msgspec.msgpack.Encoder().encode

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
FOR_EVER = -1
# Deleted people and organizations are gone from a compacted topic after this, and the closing of its segment.
MAX_COMPACTION_LAG_MS = 7 * DAY_MS


class Writer(StrEnum):
    """The processes that may write a topic. Where it is not one, each says what for."""

    PRODUCERS = "producers, api; relay for redrives"
    API = "api"
    API_AND_NOTIFICATIONS = "api; worker notifications for whose replies are, and for numbers that the provider refuses"
    RELAY = "relay"
    DETECTION = "worker detection"
    NOTIFICATIONS = "worker notifications"
    DIGESTS = "worker digests"
    NOTIFICATIONS_AND_REDRIVES = "worker notifications; relay for redrives and reruns"
    DIGESTS_AND_REDRIVES = "worker digests; relay for redrives"
    NOTIFICATIONS_AND_DIGESTS = "worker notifications; worker digests for retries"
    RELAY_AND_DIGESTS = "worker digests; relay for what people request"
    RELAY_AND_NOTIFICATIONS = "relay for the api; worker notifications for replies by SMS"


class Topic(msgspec.Struct, Generic[T_co], frozen=True, kw_only=True):
    """A declaration; `freshtrack topics create` makes the topic.

    `partitions` is the count where a deployment does not choose one; what the topic has at the broker is what counts.
    `T_co` is the type of the messages that it carries.
    """

    name: str
    key: str
    carries: type | UnionType
    writer: Writer
    about: str
    partitions: int = 12
    retention_ms: int = 7 * DAY_MS
    compacted: bool = False
    max_message_bytes: int = 1_048_576

    def decode(self, value: bytes | None) -> T_co:
        """The message that a record's value says; raises msgspec.MsgspecError for what is none of this topic's."""
        try:
            message: T_co = _decoder(self.carries).decode(value or b"")
            if value is not None and _LONG_NUMBER.search(value):
                # JSON has integers that no state can keep.
                _encode_state(message)
        except (RecursionError, UnicodeError, OverflowError) as error:
            raise msgspec.DecodeError(str(error)) from error
        return message

    @property
    def config(self) -> dict[str, str]:
        """The topic's settings at the broker."""
        settings = {"max.message.bytes": str(self.max_message_bytes)}
        if self.compacted:
            return settings | {
                "cleanup.policy": "compact",
                "min.compaction.lag.ms": str(HOUR_MS),
                "max.compaction.lag.ms": str(MAX_COMPACTION_LAG_MS),
            }
        return settings | {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}


AnyTopic: TypeAlias = Topic[object]


@cache
def _decoder(carries: type | UnionType) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(carries)
