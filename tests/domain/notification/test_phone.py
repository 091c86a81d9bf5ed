import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.notification.phone import PhoneProblem, masked, phone_problem


@pytest.mark.parametrize("last", range(100, 200, 9))
def test_the_numbers_set_aside_for_fiction_pass(last: int) -> None:
    assert phone_problem(f"+12025550{last}") is None


@pytest.mark.parametrize(
    ("phone", "problem"),
    [
        # a mobile number in a country with another length
        ("+4915112345678", None),
        ("+919812345678", None),
        # how people write numbers
        ("(202) 555-0123", PhoneProblem.NOT_E164),
        ("+1 202 555 0123", PhoneProblem.NOT_E164),
        ("12025550123", PhoneProblem.NOT_E164),
        # no country code begins with 0
        ("+02025550123", PhoneProblem.NOT_E164),
        # 16 digits
        ("+1202555012345678", PhoneProblem.NOT_E164),
        # a line break at the end is not part of a number
        ("+12025550123\n", PhoneProblem.NOT_E164),
        # digits, but not the ones that a phone has
        ("+1202555012\N{ARABIC-INDIC DIGIT THREE}", PhoneProblem.NOT_E164),
        ("", PhoneProblem.NOT_E164),
        # the shape is right, the number is too short or too long for its country
        ("+12025", PhoneProblem.NO_SUCH_NUMBER),
        ("+120255501234", PhoneProblem.NO_SUCH_NUMBER),
        # no such area code; no such country
        ("+11234567890", PhoneProblem.NO_SUCH_NUMBER),
        ("+2100000000", PhoneProblem.NO_SUCH_NUMBER),
        # Ofcom's numbers for fiction are assigned to nobody
        ("+447700900123", PhoneProblem.NO_SUCH_NUMBER),
        # the national 0 does not belong after the country code
        ("+4402079460000", PhoneProblem.NO_SUCH_NUMBER),
    ],
)
def test_what_counts_as_a_phone_number(phone: str, problem: PhoneProblem | None) -> None:
    assert phone_problem(phone) is problem


@settings(deadline=None)
@given(st.text(max_size=20) | st.from_regex(r"\+[0-9]{0,18}", fullmatch=True))
def test_any_text_is_judged_and_only_e164_passes(phone: str) -> None:
    if phone_problem(phone) is None:
        assert re.fullmatch(r"\+[1-9][0-9]{1,14}", phone)


def test_a_masked_number_can_be_told_from_others_but_not_called() -> None:
    assert masked("+12025550123") == "+12*******23"
    assert masked("+1202") == "*****"
    # from seven characters on something may be shown
    assert (masked("+12025"), masked("+120255")) == ("******", "+12**55")


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True))
def test_a_masked_number_keeps_its_length_and_at_most_four_digits(phone: str) -> None:
    hidden = masked(phone)
    assert len(hidden) == len(phone)
    assert sum(character.isdigit() for character in hidden) <= 4
