"""Lines of many processes in one terminal."""

from __future__ import annotations

import io

import pytest

from local.output import PrefixedOutput


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_names_stand_before_the_lines_in_one_column_without_colour_in_a_file() -> None:
    stream = io.StringIO()
    output = PrefixedOutput(["api", "worker"], stream)
    output.line("api", "listening")
    output.notice("worker", "worker ended")
    assert stream.getvalue() == "api    | listening\nworker | worker ended\n"


def test_in_a_terminal_each_process_has_its_colour() -> None:
    stream = Terminal()
    output = PrefixedOutput(["api", "worker"], stream)
    output.line("api", "a")
    output.line("worker", "b")
    first, second = stream.getvalue().splitlines()
    assert first.startswith("\x1b[36m")
    assert second.startswith("\x1b[33m")
    assert first.endswith("\x1b[0m a")


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    PrefixedOutput(["api"], stream).line("api", "a")
    assert stream.getvalue() == "api | a\n"
