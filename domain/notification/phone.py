"""Phone numbers: E.164 by shape, and a number that its country's plan knows.

The numbers that North America sets aside for fiction (555-0100 to 555-0199 in any area code) are valid in
phonenumberslite's plan data, so `+1 202 555 01xx` passes without a special case here. Ranges that other countries set
aside (Ofcom's 07700 900xxx, say) are unassigned in it, and refused like any number that nobody can have.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache

import phonenumbers

EXAMPLE = "+12025550123"
"""A number that nobody has, as errors show it."""
_E164 = re.compile(r"\+[1-9]\d{1,14}", re.ASCII)


class PhoneProblem(StrEnum):
    """Why a number cannot be texted; the values can be shown to people."""

    NOT_E164 = f"not in E.164 form: a plus sign, the country code and the number, digits only, such as {EXAMPLE}"
    NO_SUCH_NUMBER = "no number of this kind is in use in its country"


@lru_cache(maxsize=10_000)  # parsing costs 0.1 ms, and the same people are texted again and again
def phone_problem(phone: str) -> PhoneProblem | None:
    """What is wrong with `phone`, or None. A number that is valid may still be switched off."""
    if _E164.fullmatch(phone) is None:
        return PhoneProblem.NOT_E164
    try:
        parsed = phonenumbers.parse(phone)
    except phonenumbers.NumberParseException:
        return PhoneProblem.NO_SUCH_NUMBER
    # Parsing forgives a national prefix inside the number (+44 (0)20 ...); the network does not.
    written_back = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    if written_back != phone or not phonenumbers.is_valid_number(parsed):
        return PhoneProblem.NO_SUCH_NUMBER
    return None


def masked(phone: str) -> str:
    """A number as logs and lists show it: enough to tell two apart, too little to call.

    >>> masked("+12025550123")
    '+12*******23'
    """
    if len(phone) < 7:
        return "*" * len(phone)
    return f"{phone[:3]}{'*' * (len(phone) - 5)}{phone[-2:]}"
