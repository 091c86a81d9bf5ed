"""Lines of many processes in one terminal: each with its process's name before it, in its own colour."""

from __future__ import annotations

import os
import sys
from itertools import cycle
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable

_COLOURS = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)
_BOLD, _RESET = "\x1b[1m", "\x1b[0m"


class PrefixedOutput:
    """`line` and `notice` fit the callbacks of `Stack`. No colours outside a terminal or with `NO_COLOR` set."""

    def __init__(self, names: Iterable[str], stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        names = list(names)
        self._width = max(map(len, names), default=0)
        self._colours = dict(zip(names, cycle(_COLOURS), strict=False)) if wants_colour(self._stream) else {}

    def line(self, name: str, text: str) -> None:
        """What a process said."""
        self._stream.write(f"{self._prefix(name)} {text}\n")
        self._stream.flush()

    def notice(self, name: str, sentence: str) -> None:
        """What the supervisor has to tell about a process."""
        strong = f"{_BOLD}{sentence}{_RESET}" if self._colours else sentence
        self.line(name, strong)

    def _prefix(self, name: str) -> str:
        padded = f"{name:<{self._width}} |"
        colour = self._colours.get(name)
        return padded if colour is None else f"\x1b[{colour}m{padded}{_RESET}"


def wants_colour(stream: TextIO) -> bool:
    """NO_COLOR as no-color.org has it: set and not empty."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
