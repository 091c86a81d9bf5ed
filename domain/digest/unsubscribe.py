"""The token in a mail's unsubscribe link: it names a user and a digest, and is signed so that nobody can forge one.

A link must work as long as the mail lies in a mailbox (RFC 8058; CAN-SPAM asks for 30 days) and without a sign-in. So a
token does not expire, and all it can do is to unsubscribe one user from one digest. It is not secret: anyone to whom
the mail is forwarded can use it. Changing the secret voids all earlier links.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re

import msgspec

from schemas.messages import Cadence

SHORTEST_SECRET_BYTES = 16
# Half of HMAC-SHA256, the least that RFC 2104 (section 5) allows: a link should not wrap more than it must.
MAC_BYTES = 16

_TOKEN = re.compile(r"([A-Za-z0-9_-]{1,600})\.([A-Za-z0-9_-]{22})", re.ASCII)
_PURPOSE = b"freshtrack unsubscribe 1|"

_decode = msgspec.json.Decoder(tuple[str, Cadence]).decode


def token(secret: bytes, user_id: str, cadence: Cadence) -> str:
    """Letters, digits, `-`, `_` and one dot: fit for a URL's path. Raises ValueError for a secret below 16 bytes."""
    about = _text(msgspec.json.encode((user_id, cadence)))
    return f"{about}.{_mac(secret, about)}"


def read(secret: bytes, token: str) -> tuple[str, Cadence] | None:
    """The user and the cadence in a genuine token; None for any other text, in the same time wherever it
    differs. Raises ValueError for a secret below 16 bytes.
    """
    match = _TOKEN.fullmatch(token)
    about, mac = match.groups() if match else ("", "")
    genuine = hmac.compare_digest(_mac(secret, about), mac)
    if match is None or not genuine:
        return None
    try:
        return _decode(base64.urlsafe_b64decode(about + "=" * (-len(about) % 4)))
    except (binascii.Error, msgspec.MsgspecError):
        # Genuine, but of a cadence that this version no longer has.
        return None


def _mac(secret: bytes, about: str) -> str:
    if len(secret) < SHORTEST_SECRET_BYTES:
        raise ValueError(f"the unsubscribe secret has {len(secret)} bytes; it takes at least {SHORTEST_SECRET_BYTES}")
    return _text(hmac.digest(secret, _PURPOSE + about.encode(), hashlib.sha256)[:MAC_BYTES])


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
