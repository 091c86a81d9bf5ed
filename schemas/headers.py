"""The headers that our records carry, and what they mean."""

from __future__ import annotations

import hashlib
import os
import re
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from msgspec import Struct

LONGEST_VALUE = 1_024
"""Bytes of a header's value that anything of ours reads or writes; whoever writes to Kafka directly may send more."""
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Header(StrEnum):
    """Names of headers; the values are UTF-8 text."""

    ID = "id"
    TYPE = "type"
    TRACEPARENT = "traceparent"
    ATTEMPT = "attempt"
    ERROR = "error"
    ERROR_CODE = "error-code"
    DUE_AT = "due-at"
    ORIGINAL_TOPIC = "original-topic"
    ORIGINAL_PARTITION = "original-partition"
    ORIGINAL_OFFSET = "original-offset"


Headers = tuple[tuple[str, bytes], ...]


class Sourced(Protocol):
    """A record as the broker keeps it, as far as its place and its headers go."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Origin(NamedTuple):
    """The record that another one follows from; `topic` is its name at the broker."""

    topic: str
    partition: int
    offset: int
    trace: bytes

    @classmethod
    def of(cls, record: Sourced) -> Origin:
        return cls(record.topic, record.partition, record.offset, trace_of(dict(record.headers or ())))


def value_of(headers: Iterable[tuple[str, bytes]], name: str) -> bytes | None:
    """The value of a record's header; None where it has none, or one that is longer than any of ours."""
    found = next((value for given, value in headers if given == name), None)
    return None if found is None or len(found) > LONGEST_VALUE else found


def event_headers(id_: str, type_: str, trace: bytes | None = None) -> Headers:
    """Headers of a record that says what happened: its idempotency key, its type, the trace if it belongs to one."""
    headers = ((Header.ID.value, bounded(id_)), (Header.TYPE.value, bounded(type_)))
    return headers if trace is None else (*headers, (Header.TRACEPARENT.value, trace))


def failure_headers(
    id_: str,
    type_: str,
    *,
    attempt: int,
    error: str,
    error_code: str,
    origin: Origin | None = None,
    due_at_ms: int | None = None,
) -> Headers:
    """Headers of a retry or a dead letter: what failed, how often, and which record it began with."""
    headers = [
        *event_headers(id_, type_, None if origin is None else origin.trace),
        (Header.ATTEMPT.value, str(attempt).encode()),
        (Header.ERROR.value, bounded(error)),
        (Header.ERROR_CODE.value, bounded(error_code)),
    ]
    if due_at_ms is not None:
        headers.append((Header.DUE_AT.value, str(due_at_ms).encode()))
    if origin is not None:
        headers += [
            (Header.ORIGINAL_TOPIC.value, origin.topic.encode()),
            (Header.ORIGINAL_PARTITION.value, str(origin.partition).encode()),
            (Header.ORIGINAL_OFFSET.value, str(origin.offset).encode()),
        ]
    return tuple(headers)


def bounded(text: str) -> bytes:
    """UTF-8 of at most `LONGEST_VALUE` bytes. A lone surrogate, as JSON may spell one, has none."""
    return text.encode(errors="replace")[:LONGEST_VALUE].decode(errors="ignore").encode()


@cache
def type_name(message_type: type[Struct]) -> str:
    """The value of the `type` header: the tag in a tagged union, else the name in snake case (`reading_batch`)."""
    tag = msgspec.inspect.type_info(message_type)
    if isinstance(tag, msgspec.inspect.StructType) and isinstance(tag.tag, str):
        return tag.tag
    return re.sub(r"(?<!^)(?=[A-Z])", "_", message_type.__name__).lower()


def content_id(key: bytes, value: bytes) -> str:
    """The same record has the same id, whoever sends it again: 32 hexadecimal digits of BLAKE2b over key and value."""
    return hashlib.blake2b(value, digest_size=16, key=hashlib.blake2b(key, digest_size=32).digest()).hexdigest()


def new_traceparent() -> str:
    """The start of a trace, as W3C Trace Context level 1 writes it: version, trace id, span id, sampled."""
    ids = os.urandom(24).hex()
    return f"00-{ids[:32]}-{ids[32:]}-01"


def trace_of(headers: Mapping[str, bytes]) -> bytes:
    """The trace that a record belongs to; a new one when it names none, or nothing that is one."""
    given = headers.get(Header.TRACEPARENT) or b""
    return given if _TRACEPARENT.fullmatch(given) else new_traceparent().encode()


def attempts_of(headers: Mapping[str, bytes]) -> int:
    """How many attempts a record has behind it; 0 when it does not say."""
    given = headers.get(Header.ATTEMPT) or b""
    return int(given) if re.fullmatch(rb"[0-9]{1,6}", given) else 0
