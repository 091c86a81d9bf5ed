"""What must stop no consumer: bytes that are no message, and messages with keys and headers of anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.contracts.examples import example_of
from schemas.headers import Header
from schemas.messages import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.topic import AnyTopic

POISON: tuple[bytes | None, ...] = (
    b"",
    None,
    b"\xff\xfe\x00",
    b'{"type":"\xc3\x28"}',
    b"{}",
    b"null",
    b"1" + b"0" * 400,
    b"[" * 100_000,
    b'{"type":' + b'{"a":' * 100_000,
    b'{"unit_id":"\\udfff","user_id":"\\udfff","type":"\\udfff"}',
    b"\x00" * 100_000,
)
KEYS: tuple[bytes | None, ...] = (None, b"", b"\xff\xfe", b"k" * 100_000, b"\x00", b"user-1")
HEADERS: tuple[list[tuple[str, bytes]], ...] = (
    [],
    [(name.value, b"\xff" * 100_000) for name in Header],
    [("id", b"\x00" * 900_000)],
    [("", b"")] * 1_000,
)


def examples(topic: AnyTopic) -> list[bytes]:
    """A valid message of each kind that the topic carries."""
    kinds: tuple[Any, ...] = getattr(topic.carries, "__args__", (topic.carries,))
    return [encode(example_of(kind)) for kind in kinds]


def records(topic: AnyTopic) -> Iterator[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]:
    """Keys, values and headers that somebody may write to the topic."""
    for value in (*POISON, *examples(topic)):
        yield b"user-1", value, []
    for value in (b"{}", *examples(topic)):
        for key in KEYS:
            yield key, value, []
        for headers in HEADERS:
            yield b"user-1", value, headers
