import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.digest.unsubscribe import read, token
from schemas.messages import Cadence

SECRET = b"s" * 32
user_ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100)
cadences = st.sampled_from(Cadence)


@given(user_ids, cadences)
def test_a_token_tells_whom_and_which_digest_it_is_about(user_id: str, cadence: Cadence) -> None:
    made = token(SECRET, user_id, cadence)
    assert read(SECRET, made) == (user_id, cadence)
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", made)


@given(user_ids, cadences, st.data())
def test_a_changed_character_is_noticed(user_id: str, cadence: Cadence, data: st.DataObject) -> None:
    made = token(SECRET, user_id, cadence)
    at = data.draw(st.integers(0, len(made) - 1))
    other = data.draw(st.sampled_from("AZaz09-_.").filter(lambda c: c != made[at]))
    assert read(SECRET, made[:at] + other + made[at + 1 :]) is None


@given(st.text(max_size=200))
def test_any_text_is_judged(text: str) -> None:
    assert read(SECRET, text) is None


def test_another_secret_makes_a_token_void() -> None:
    assert read(b"t" * 32, token(SECRET, "ann", Cadence.DAILY)) is None


def test_each_user_and_digest_has_a_token_of_its_own() -> None:
    assert len({token(SECRET, user, cadence) for user in ("ann", "bob") for cadence in Cadence}) == 6


def test_a_secret_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        token(b"short", "ann", Cadence.DAILY)
    with pytest.raises(ValueError, match="at least 16"):
        read(b"", "a.b")
