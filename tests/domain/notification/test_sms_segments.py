import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.notification.sms_segments import GSM7, MAX_PARTS, TWO_UNITS, Encoding, segments

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"

gsm7_text = st.text(st.sampled_from(sorted(GSM7)), max_size=700)


@pytest.fixture
def published() -> Path:
    if not DATA.exists():
        pytest.skip("The published SMS vectors do not lie beside the project.")
    return DATA


def test_the_published_vectors_have_as_many_parts(published: Path) -> None:
    vectors = json.loads((published / "sms" / "segment_vectors.json").read_text())
    assert len(vectors) == 10
    for vector in vectors:
        found = segments(vector["body"])
        assert (found.encoding, found.parts) == (vector["encoding"], vector["segments"]), vector["testDescription"]
        bits = found.units * (7 if found.encoding is Encoding.GSM7 else 16)
        assert bits == vector["messageSize"], vector["testDescription"]


def test_the_alphabet_is_the_providers(published: Path) -> None:
    facts = json.loads((published / "telnyx" / "facts.json").read_text())["segments"]
    assert set(facts["gsm7_charset"]) == GSM7
    assert set(facts["two_unit_chars"]) == TWO_UNITS
    assert facts["max_parts"] == MAX_PARTS


@pytest.mark.parametrize(
    ("text", "encoding", "units", "parts"),
    [
        ("", Encoding.GSM7, 0, 1),
        # an escaped character takes two units
        ("[" * 80, Encoding.GSM7, 160, 1),
        ("[" * 81, Encoding.GSM7, 162, 2),
        # ... and is not torn: 152 units and the pair would make 154
        ("a" * 152 + "[" + "b" * 152, Encoding.GSM7, 306, 3),
        ("a" * 153 + "b" * 153, Encoding.GSM7, 306, 2),
        # one degree sign turns the whole text to UTF-16
        ("a" * 69 + "\N{DEGREE SIGN}", Encoding.UTF16, 70, 1),
        ("a" * 70 + "\N{DEGREE SIGN}", Encoding.UTF16, 71, 2),
        # a surrogate pair is not torn either: 66 units and the pair would make 68
        ("a" * 66 + "\N{THERMOMETER}" * 2, Encoding.UTF16, 70, 1),
        ("a" * 66 + "\N{THERMOMETER}" + "b" * 66, Encoding.UTF16, 134, 3),
        # the most that the provider takes
        ("a" * 1530, Encoding.GSM7, 1530, 10),
        ("a" * 1531, Encoding.GSM7, 1531, 11),
    ],
)
def test_parts_at_the_borders(text: str, encoding: Encoding, units: int, parts: int) -> None:
    found = segments(text)
    assert found == (encoding, units, parts)
    assert found.fits == (parts <= 10)


@given(gsm7_text)
def test_parts_are_as_few_as_the_units_allow_or_one_unit_each_more(text: str) -> None:
    found = segments(text)
    assert found.encoding is Encoding.GSM7
    if found.units <= 160:
        assert found.parts == 1
    else:
        # A torn pair wastes at most one unit of a part.
        assert -(-found.units // 153) <= found.parts <= -(-found.units // 152)


@given(gsm7_text, st.characters(exclude_characters="".join(GSM7), exclude_categories=["Cs"]))
def test_one_foreign_character_makes_the_text_utf16(text: str, foreign: str) -> None:
    assert segments(text + foreign).encoding is Encoding.UTF16


@given(st.text(max_size=400), st.text(max_size=50))
def test_more_text_never_has_fewer_parts(text: str, more: str) -> None:
    assert segments(text + more).parts >= segments(text).parts
