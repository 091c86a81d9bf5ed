import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from api.webhooks.telnyx.signature import SignatureProblem, public_key, signature_problem

SECRET = SigningKey(b"k" * 32)
KEY = public_key(base64.b64encode(bytes(SECRET.verify_key)).decode())
NOW_MS = 1_700_000_000_500
BODY = b'{"data":{"event_type":"message.sent"}}'


def signed(timestamp: str, body: bytes = BODY, secret: SigningKey = SECRET) -> str:
    return base64.b64encode(secret.sign(timestamp.encode() + b"|" + body).signature).decode()


def judged(
    timestamp: str | None, signature: str | None, body: bytes = BODY, now_ms: int = NOW_MS
) -> SignatureProblem | None:
    return signature_problem(KEY, signature=signature, timestamp=timestamp, body=body, now_ms=now_ms)


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        (1_700_000_000, None),
        # 300 s old and half a second more
        (1_699_999_700, SignatureProblem.TOO_OLD),
        (1_699_999_701, None),
        # a clock ahead of the receiver's
        (1_700_000_300, None),
        (1_700_000_301, SignatureProblem.TOO_NEW),
    ],
)
def test_a_signature_is_good_for_five_minutes_either_way(second: int, problem: SignatureProblem | None) -> None:
    assert judged(str(second), signed(str(second))) is problem


def test_exactly_five_minutes_is_within_them() -> None:
    assert judged("1700000000", signed("1700000000"), now_ms=1_700_000_300_000) is None
    assert judged("1700000000", signed("1700000000"), now_ms=1_700_000_300_001) is SignatureProblem.TOO_OLD


@pytest.mark.parametrize(
    ("timestamp", "signature", "problem"),
    [
        (None, signed("1700000000"), SignatureProblem.MISSING),
        ("1700000000", None, SignatureProblem.MISSING),
        ("1700000000", "", SignatureProblem.MISSING),
        ("yesterday", signed("yesterday"), SignatureProblem.MALFORMED),
        ("-1700000000", signed("-1700000000"), SignatureProblem.MALFORMED),
        ("1700000000", "not base64!", SignatureProblem.MALFORMED),
        ("1700000000", base64.b64encode(b"short").decode(), SignatureProblem.MALFORMED),
        # another key's
        ("1700000000", signed("1700000000", secret=SigningKey(b"x" * 32)), SignatureProblem.WRONG),
        # an old signature with a fresh timestamp
        ("1700000000", signed("1699990000"), SignatureProblem.WRONG),
    ],
)
def test_what_is_wrong_with_a_signature(
    timestamp: str | None, signature: str | None, problem: SignatureProblem
) -> None:
    assert judged(timestamp, signature) is problem


@given(st.binary(max_size=200), st.data())
def test_a_changed_byte_is_noticed(body: bytes, data: st.DataObject) -> None:
    signature = signed("1700000000", body)
    assert judged("1700000000", signature, body) is None
    at = data.draw(st.integers(0, len(body)))
    assert judged("1700000000", signature, body[:at] + b"!" + body[at:]) is SignatureProblem.WRONG


@given(st.text(max_size=100), st.text(max_size=30))
def test_any_header_is_judged(signature: str, timestamp: str) -> None:
    assert judged(timestamp, signature) is not None


@pytest.mark.parametrize("text", ["", "not base64!", base64.b64encode(b"too short").decode()])
def test_a_public_key_that_is_none_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ValueError, match="32 bytes in base64"):
        public_key(text)
