"""`docs/security.md` names tests that exist, for every promise, and the retention that the code has."""

from __future__ import annotations

import pytest

from cli.contracts.promises import PAGE, PROMISES, Promise, held_by, updated


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.text)
def test_every_promise_has_tests(promise: Promise) -> None:
    assert list(held_by(promise))


def test_the_page_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert updated(page) == page, "run ./freshtrack promises"


def test_a_lost_marker_is_an_error() -> None:
    with pytest.raises(ValueError, match="lost the markers"):
        updated("# Security\n")
