"""Numbers and addresses in texts that somebody else reads: logs, errors, problem documents."""

from __future__ import annotations

import re

from domain.notification.phone import EXAMPLE, masked

_PHONE = re.compile(r"(?<![\w-])\+?[1-9]\d{9,14}(?![\w-])")
_E164 = re.compile(r"(?<!\w)\+[1-9]\d{6,14}(?!\d)")
# Bounded, because a long text without spaces would be searched from each of its characters on.
_ADDRESS = re.compile(r"([^\s<>\"'@\\,;:=]{1,64})@([^\s<>\"'@\\]+)")


def masked_text(text: str) -> str:
    """The text with phone numbers and addresses masked: providers put them into their errors.

    >>> masked_text("+12025550124 and ann@example.com bounced")
    '+12*******24 and a***@example.com bounced'
    """
    return _addresses(_PHONE.sub(lambda found: masked(found[0]), text))


def masked_line(text: str) -> str:
    """As `masked_text`, but only numbers with their plus sign: a log is full of times that look like others."""
    if "+" in text:
        text = _E164.sub(lambda found: found[0] if found[0] == EXAMPLE else masked(found[0]), text)
    return _addresses(text)


def unmasked(text: str) -> list[str]:
    """Numbers and addresses that are whole in the text."""
    numbers = [number for number in _E164.findall(text) if number != EXAMPLE]
    return numbers + [f"{local}@{domain}" for local, domain in _ADDRESS.findall(text) if not local.endswith("***")]


def _addresses(text: str) -> str:
    if "@" not in text:
        return text
    return _ADDRESS.sub(lambda found: f"{found[1][0]}***@{found[2]}", text)
