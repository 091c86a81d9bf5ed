"""Telnyx's webhook signature: Ed25519 over `{timestamp}|{body}`, at most five minutes old or ahead.

Headers `telnyx-signature-ed25519` (base64) and `telnyx-timestamp` (seconds); source: "Receiving webhooks" in Telnyx's
developer pages. A copy of a genuine webhook passes for five minutes; the event's id identifies it.
"""

from __future__ import annotations

import base64
import binascii
import re
from enum import StrEnum

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

SIGNATURE_HEADER = "telnyx-signature-ed25519"
TIMESTAMP_HEADER = "telnyx-timestamp"
TOLERANCE_S = 300

_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)


class SignatureProblem(StrEnum):
    """Why a webhook is refused."""

    MISSING = "a signature header is missing"
    MALFORMED = "a signature header cannot be read"
    TOO_OLD = "the timestamp is more than five minutes old"
    TOO_NEW = "the timestamp is more than five minutes ahead"
    WRONG = "the signature does not fit the body and the timestamp"


def public_key(base64_text: str) -> VerifyKey:
    """The provider's key as its portal shows it. Raises ValueError for anything else."""
    try:
        return VerifyKey(base64.b64decode(base64_text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise ValueError("the webhook public key must be 32 bytes in base64, as Telnyx's portal shows it") from error


def signature_problem(
    key: VerifyKey, *, signature: str | None, timestamp: str | None, body: bytes, now_ms: int
) -> SignatureProblem | None:
    """What is wrong with a webhook, or None. `body` is the raw body; a re-encoded one would not match."""
    read = _read(signature, timestamp)
    if isinstance(read, SignatureProblem):
        return read
    raw_signature, signed_at_s = read
    age_ms = now_ms - signed_at_s * 1000
    if age_ms > TOLERANCE_S * 1000:
        return SignatureProblem.TOO_OLD
    if age_ms < -TOLERANCE_S * 1000:
        return SignatureProblem.TOO_NEW
    try:
        # The timestamp is signed as written; `_read` has checked that it is digits only.
        key.verify(f"{timestamp}|".encode() + body, raw_signature)
    except BadSignatureError:
        return SignatureProblem.WRONG
    return None


def _read(signature: str | None, timestamp: str | None) -> tuple[bytes, int] | SignatureProblem:
    if not signature or not timestamp:
        return SignatureProblem.MISSING
    if _SECONDS.fullmatch(timestamp) is None:
        return SignatureProblem.MALFORMED
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return SignatureProblem.MALFORMED
    return (raw, int(timestamp)) if len(raw) == 64 else SignatureProblem.MALFORMED
