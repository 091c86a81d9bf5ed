"""Qualified ids of units and contacts, and the plain ones that people see."""

from __future__ import annotations

from schemas.http.fields import ID_PATTERN
from schemas.identity import plain, plain_each, qualified


def test_a_qualified_id_shows_as_the_plain_one_and_a_plain_one_as_itself() -> None:
    assert plain(qualified("acme", "fridge-1")) == "fridge-1"
    assert plain("fridge-1") == "fridge-1"
    assert plain("key:0123") == "key:0123"


def test_text_that_names_another_organization_stays_in_the_callers() -> None:
    assert qualified("acme", "other/fridge-1").partition("/")[0] == "acme"


def test_neither_part_can_hold_the_separator() -> None:
    assert "/" not in ID_PATTERN


def test_lists_of_contacts_show_plain_ids() -> None:
    assert plain_each("acme/ann, acme/bob (off duty)") == "ann, bob (off duty)"
