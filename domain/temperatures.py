"""Temperatures as people read them. They are kept in °C; each organization is shown its own unit."""

from __future__ import annotations

MOST_DECIMALS = 4
"""No sensor is finer."""


def fahrenheit(celsius: float) -> float:
    return celsius * 9 / 5 + 32


def celsius(fahrenheit: float) -> float:
    """To a ten-thousandth: 40 °F is not 4.444444444444445 °C."""
    return round((fahrenheit - 32) * 5 / 9, MOST_DECIMALS)


def in_unit(celsius: float, display_unit: str) -> float:
    """`celsius` in the unit "C" or "F"."""
    return fahrenheit(celsius) if display_unit == "F" else celsius


def number(celsius: float, display_unit: str, decimals: int = 1) -> str:
    """The figure alone. Never "-0.0"."""
    return f"{round(in_unit(celsius, display_unit), decimals) + 0.0:.{decimals}f}"


def apart(celsius: float, other_c: float | None, display_unit: str) -> int:
    """How many decimals show that two temperatures differ: nobody reads "8.0 C, above 8.0 C"."""
    if other_c is None or celsius == other_c:
        return 1
    for decimals in range(1, MOST_DECIMALS):
        if number(celsius, display_unit, decimals) != number(other_c, display_unit, decimals):
            return decimals
    return MOST_DECIMALS
