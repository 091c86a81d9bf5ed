"""SMS in the lanes of a space, and what the fake provider and the outcomes say became of them."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from schemas import messages as m
from schemas.messages import encode
from schemas.topics import SMS_LANES, SMS_OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from local.telnyx.client import TelnyxProcess
    from local.telnyx.records import Arrival
    from tests.pipeline.conftest import Space

PARTITIONS = 4
# The broker allows no shorter one.
SHORT_SESSION = {"SESSION_TIMEOUT_S": "6", "FREEZE_LIMIT_S": "4.8", "COMMIT_INTERVAL_S": "0.5"}
_decode_outcome: msgspec.json.Decoder[m.Outcome] = msgspec.json.Decoder(m.Outcome)


class Traffic:
    """Requests with texts that name them, each to a person of its own unless a test says otherwise."""

    def __init__(self, space: Space, telnyx: TelnyxProcess) -> None:
        self.space = space
        self.telnyx = telnyx
        self.queued: list[str] = []

    @property
    def provider(self) -> dict[str, str]:
        """What a worker needs to find the provider."""
        return {
            "TELNYX_API_URL": self.telnyx.url,
            "TELNYX_API_KEY": self.telnyx.api_key,
            "TELNYX_FROM": "+12025550199",
            "TELNYX_MESSAGING_PROFILE_ID": "profile-1",
        }

    def people(self, count: int) -> None:
        """`user-0` to `user-<count-1>`; the hundred numbers that belong to nobody are shared among them."""
        for number in range(count):
            contact = m.Contact(
                user_id=f"user-{number}", organization_id=organization(number), name="Ada", phone_e164=phone(number)
            )
            self.space.send("contacts", contact.user_id, encode(contact))
        self.space.flush()

    def queue(
        self,
        severity: m.Severity,
        numbers: Iterable[int],
        *,
        name: str = "",
        people: int = 1_000_000,
        kind: m.AlertKind = m.AlertKind.TEMPERATURE_HIGH,
    ) -> None:
        """One request for each number, to `user-<number % people>`; id and text are `<name, or the lane>-<number>`."""
        now_ms = int(time.time() * 1000)
        for number in numbers:
            request_id = f"{name or severity}-{number}"
            request = m.SmsRequest(
                request_id=request_id,
                alert_id=f"alert-{request_id}",
                unit_id=f"unit-{number}",
                organization_id=organization(number % people),
                user_id=f"user-{number % people}",
                kind=kind,
                severity=severity,
                text=request_id,
                breach_at_ms=now_ms,
                requested_at_ms=now_ms,
            )
            self.space.send(SMS_LANES[severity].name, request.user_id, encode(request))
            self.queued.append(request_id)
        self.space.flush()

    def accepted(self) -> list[Arrival]:
        """What the provider took, in the order of arrival."""
        return [arrival for arrival in self.telnyx.log().arrivals if arrival.accepted]

    def all_accepted(self) -> bool:
        """Cheap while not enough have arrived."""
        return self.telnyx.counts().accepted >= len(self.queued) and not self.missing()

    def missing(self) -> set[str]:
        """What was queued and not yet accepted."""
        return set(self.queued) - {arrival.text for arrival in self.accepted()}

    def sent_again(self) -> int:
        """How many the provider took more often than once, counted for each time too many."""
        return sum(times - 1 for times in Counter(arrival.text for arrival in self.accepted()).values())

    def outcomes(self) -> list[m.Outcome]:
        return [_decode_outcome.decode(message.value() or b"") for message in self.space.read(SMS_OUTCOMES.name)]

    def count(self, kind: type[m.SmsOutcome]) -> int:
        return sum(isinstance(outcome, kind) for outcome in self.outcomes())


def phone(number: int) -> str:
    return f"+1202555{100 + number % 100:04d}"


def organization(number: int) -> str:
    return f"org-{number % 10}"


def most_within(times_s: Iterable[float], window_s: float) -> int:
    """The largest number of these moments in any window of that length, its end not included."""
    ordered = sorted(times_s)
    most = first = 0
    for last, moment in enumerate(ordered):
        while moment - ordered[first] >= window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


def too_close(arrivals: Sequence[Arrival], window_s: float, people: int) -> list[tuple[str, str, float]]:
    """Pairs of SMS to one person that came closer than the window, with their distance in seconds."""
    by_person: defaultdict[int, list[Arrival]] = defaultdict(list)
    for arrival in arrivals:
        by_person[int(arrival.text.rpartition("-")[2]) % people].append(arrival)
    found = []
    for theirs in by_person.values():
        for earlier, later in pairwise(theirs):
            if later.at_s - earlier.at_s < window_s:
                found.append((earlier.text, later.text, later.at_s - earlier.at_s))
    return found
