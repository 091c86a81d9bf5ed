"""Which process writes and reads which topic: what the broker's access rights are made of."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from schemas import topics as t
from schemas.topic import Writer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from schemas.topic import AnyTopic


class Process(StrEnum):
    """A process with a principal of its own at the broker. Whatever sends readings is a producer."""

    PRODUCER = "producer"
    API = "api"
    RELAY = "relay"
    DETECTION = "detection"
    NOTIFICATIONS = "notifications"
    DIGESTS = "digests"
    RECORDER = "recorder"


WORKERS = (Process.DETECTION, Process.NOTIFICATIONS, Process.DIGESTS, Process.RECORDER)
_DEAD_LETTERS = (t.SMS_DLQ, t.READINGS_DLQ, t.EMAIL_DLQ)

READS: Mapping[Process, tuple[AnyTopic, ...]] = {
    Process.PRODUCER: (),
    # The live page.
    Process.API: (t.READINGS, t.ALERTS),
    Process.RELAY: (),
    Process.DETECTION: (t.READINGS, t.UNIT_CONNECTIVITY, t.UNITS),
    Process.NOTIFICATIONS: (
        t.ALERTS,
        t.ALERT_COMMANDS,
        t.ESCALATIONS,
        *t.SMS_LANES.values(),
        t.SMS_RETRIES,
        t.SMS_RECEIPTS,
        t.SMS_INBOUND,
        t.UNITS,
        t.CONTACTS,
        t.ORGANIZATIONS,
    ),
    Process.DIGESTS: (
        t.DIGEST_PREFERENCES,
        t.DIGEST_RUNS,
        t.DIGEST_JOBS,
        t.EMAIL_REQUESTS,
        t.EMAIL_RETRIES,
        t.PAGE_EMAILS,
        t.UNITS,
        t.CONTACTS,
    ),
    Process.RECORDER: (
        t.ALERTS,
        t.ALERT_COMMANDS,
        t.ESCALATIONS,
        *t.SMS_LANES.values(),
        t.SMS_INBOUND,
        t.SMS_OUTCOMES,
        t.UNIT_AGGREGATES,
        t.EMAIL_OUTCOMES,
        t.PAGE_EMAILS,
        *_DEAD_LETTERS,
        t.DIGEST_PROGRESS,
        t.DEAD_LETTER_SETTLEMENTS,
    ),
}


# A test fails for a writer that is missing here.
WRITERS: Mapping[Writer, tuple[Process, ...]] = {
    Writer.PRODUCERS: (Process.PRODUCER, Process.API, Process.RELAY),
    Writer.API: (Process.API,),
    Writer.RELAY: (Process.RELAY,),
    Writer.DETECTION: (Process.DETECTION,),
    Writer.NOTIFICATIONS: (Process.NOTIFICATIONS,),
    Writer.DIGESTS: (Process.DIGESTS,),
    Writer.API_AND_NOTIFICATIONS: (Process.API, Process.NOTIFICATIONS),
    Writer.NOTIFICATIONS_AND_REDRIVES: (Process.NOTIFICATIONS, Process.RELAY),
    Writer.DIGESTS_AND_REDRIVES: (Process.DIGESTS, Process.RELAY),
    Writer.NOTIFICATIONS_AND_DIGESTS: (Process.NOTIFICATIONS, Process.DIGESTS),
    Writer.RELAY_AND_DIGESTS: (Process.RELAY, Process.DIGESTS),
    Writer.RELAY_AND_NOTIFICATIONS: (Process.RELAY, Process.NOTIFICATIONS),
}


def writers(topic: AnyTopic) -> tuple[Process, ...]:
    """The processes that the topic's `writer` names."""
    return WRITERS[topic.writer]
