"""Whatever bytes lie in a topic: its declaration decodes them, or refuses them with one kind of error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from schemas.headers import LONGEST_VALUE, Header, attempts_of, failure_headers, trace_of, value_of
from schemas.topics import TOPICS
from tests.poison import POISON, examples

if TYPE_CHECKING:
    from schemas.topic import AnyTopic


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_every_topic_refuses_poison_as_unreadable(topic: AnyTopic) -> None:
    for value in POISON:
        with pytest.raises(msgspec.MsgspecError):
            topic.decode(value)
    for value in examples(topic):
        topic.decode(value)


def test_headers_of_others_are_bounded_when_they_are_read() -> None:
    huge = ((Header.ID.value, b"x" * 4_000_000), (Header.ATTEMPT.value, b"9" * 4_000_000))
    assert value_of(huge, Header.ID) is None
    assert value_of([(Header.ID.value, b"x" * LONGEST_VALUE)], Header.ID) is not None
    assert attempts_of(dict(huge)) == 0
    assert len(trace_of({Header.TRACEPARENT: b"00-" * 1_000_000})) == 55


def test_headers_of_ours_are_bounded_when_they_are_written() -> None:
    long = "é\udfff" * 2_000_000
    headers = failure_headers(long, long, attempt=1, error=long, error_code=long)
    assert all(len(value) <= LONGEST_VALUE and value.decode() for _, value in headers)
