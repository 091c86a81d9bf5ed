"""The applied offset of a stored value, which recovery compares: the first element in each of our tables."""

from __future__ import annotations

import msgspec


class _Prefix(msgspec.Struct, array_like=True, gc=False):
    """The rest of the value is not decoded."""

    applied_offset: int


_decode = msgspec.msgpack.Decoder(_Prefix).decode


def applied_offset_of(raw: bytes) -> int:
    """Up to which offset of its source, or to which version, the value is complete, whichever table it lies in."""
    return _decode(raw).applied_offset
