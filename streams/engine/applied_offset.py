"""Fences: what recovery asks of a stored value, in every table of ours its first element."""

from __future__ import annotations

import msgspec


class _Fence(msgspec.Struct, array_like=True, gc=False):
    """The rest of the value is not decoded."""

    fence: int


_decode = msgspec.msgpack.Decoder(_Fence).decode


def fence_of(raw: bytes) -> int:
    """The fence of a stored value, whichever table it lies in."""
    return _decode(raw).fence
