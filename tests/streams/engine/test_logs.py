"""No log line has a whole number or address, wherever in it: in a field, a library's message, a stack trace."""

from __future__ import annotations

import subprocess
import sys

import pytest

from domain.personal_data import masked_line, unmasked

PROGRAM = """
import logging, structlog
from streams.engine import logs
logs.configure(json={json}, worker="test")
log = structlog.get_logger("test")
log.info("sms.sent", to="+12025550124", mail="ann@example.com", nested={{"who": ["+12025550125", 1795000000000]}})
logging.getLogger("library").warning("refused: %s <%s>", "+12025550126", "ben@example.com")
try:
    raise ValueError("no such number: +12025550127, carl@example.com")
except ValueError:
    log.exception("failed", at_ms=1795000000000)
"""


@pytest.mark.parametrize("json", [True, False])
def test_every_line_is_masked(json: bool) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(json=json)], capture_output=True, text=True, check=True)
    lines = done.stderr
    assert "+12*******24" in lines
    assert "c***@example.com" in lines
    assert "1795000000000" in lines
    assert unmasked(lines) == []


def test_what_is_masked_is_seen_when_it_is_whole() -> None:
    line = "to=+12025550124 from <ann@example.com>"
    assert unmasked(line) == ["+12025550124", "ann@example.com"]
    assert unmasked(masked_line(line)) == []


def test_a_long_text_without_spaces_is_masked_in_time() -> None:
    assert masked_line("x" * 1_000_000 + "@").startswith("x")


def test_a_terminal_gets_no_escape_sequence_that_a_caller_chose() -> None:
    program = (
        "from streams.engine import logs; import structlog; logs.configure(json=False);"
        r"structlog.get_logger().warning('api.failed', path='/v1/\x1b[2J\x9b1m', more='a\rb')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "api.failed" in done.stderr
    assert r"/v1/\x1b[2J\x9b1m" in done.stderr
    assert not {"\x1b", "\x9b", "\r"} & set(done.stderr)
