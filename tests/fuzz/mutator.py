"""A seeded mutator: bytes and JSON structures of valid messages, changed in ways that break decoders and rules."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

LARGEST = 200_000
TOKENS = (
    b"\x00", b"\xff\xfe", b"\xc3\x28", b"\xed\xbf\xbf", b"\\ud800", b"\\udfff", b"\\u0000", b'"', b"'", b"{", b"}",
    b"[", b"]", b",", b":", b"null", b"true", b"NaN", b"Infinity", b"-0", b"1e999", b"1e-999", b"-1", b"0",
    b"9223372036854775808", b"-9223372036854775809", b"1" + b"0" * 400, b"2026-02-30T25:61:61Z",
    b"0001-01-01T00:00:00Z",
    b"9999-12-31T23:59:59.999999999+14:00", b"+12025550124", b"ann@example.com", b"\r\n", b"\xef\xbb\xbf", b"!!python/",
    b"&a *a", b"%s", b"../..", b"\xe2\x80\xae",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**63, -(2**63) - 1, 10**400, 1.5, -0.0, 1e308, 1e-320, "", " ", "\x00",
    "\u202e", "é" * 1_000, "x" * 100_000, "1", "nan", "-1e999", "2026-02-30", "9999-12-31T23:59:59Z", "unknown",
    [], [[]], [None] * 1_000, {}, {"": {}}, {"type": "x"},
)  # fmt: skip


def mutations(rng: random.Random, corpus: Sequence[bytes]) -> Iterator[bytes]:
    """Without an end; each is a corpus entry changed one to six times."""
    while True:
        data = rng.choice(corpus)
        for _ in range(rng.randint(1, 6)):
            data = rng.choice(WAYS)(rng, data, corpus)[:LARGEST]
        yield data


def _flip(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _unused in range(min(len(changed), rng.randint(1, 8))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _cut(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    begin, end = sorted(rng.randint(0, len(data)) for _unused in range(2))
    return data[:begin] + data[end:]


def _repeat(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    begin, end = sorted(rng.randint(0, len(data)) for _unused in range(2))
    # No more than is kept: the memory that is measured is that of who takes the message.
    times = min(rng.choice((2, 3, 50, 2_000)), 1 + LARGEST // max(1, end - begin))
    return data[:begin] + data[begin:end] * times + data[end:]


def _insert(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + rng.choice(TOKENS) * rng.choice((1, 1, 1, 20_000)) + data[at:]


def _splice(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    other = rng.choice(corpus)
    return data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]


def _restructure(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    """Another value somewhere in a JSON document: a wrong type, an extreme, a part of another document."""
    try:
        document, other = json.loads(data), json.loads(rng.choice(corpus))
    except (ValueError, RecursionError):
        return _insert(rng, data, corpus)
    return json.dumps(_replaced(rng, document, other), ensure_ascii=rng.random() < 0.5).encode(errors="surrogatepass")


def _replaced(rng: random.Random, node: Any, other: Any) -> Any:
    if isinstance(node, dict) and node and rng.random() < 0.9:
        name = rng.choice(list(node))
        if rng.random() < 0.1:
            return {key: value for key, value in node.items() if key != name}
        return node | {name: _replaced(rng, node[name], other)}
    if isinstance(node, list) and node and rng.random() < 0.8:
        at = rng.randrange(len(node))
        return [*node[:at], _replaced(rng, node[at], other), *node[at + 1 :]]
    if isinstance(node, str) and rng.random() < 0.3:
        return node + rng.choice(("\x00", "\ud800", " ", "'", "|", "x" * 500))
    if isinstance(node, int | float) and rng.random() < 0.3:
        return node * rng.choice((-1, 0, 1_000, 10**15, 10**30))
    return rng.choice((*VALUES, other))


WAYS: tuple[Callable[[random.Random, bytes, Sequence[bytes]], bytes], ...] = (
    _flip,
    _cut,
    _repeat,
    _insert,
    _splice,
    _restructure,
    _restructure,
    _restructure,
)
