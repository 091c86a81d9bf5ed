"""Derived ids are UUIDs of version 5 under our namespace, as every other language makes them."""

from __future__ import annotations

import json
import uuid

from hypothesis import given
from hypothesis import strategies as st

from domain.identity import NAMESPACE, derived_id

PART = st.one_of(st.text(), st.integers(min_value=0, max_value=2**62))


@given(st.text(), st.lists(PART, max_size=4))
def test_a_derived_id_is_what_the_standard_library_makes(kind: str, parts: list[str | int]) -> None:
    name = json.dumps((kind, *parts), separators=(",", ":"))
    assert derived_id(kind, *parts) == str(uuid.uuid5(NAMESPACE, name))


def test_parts_stay_apart() -> None:
    assert derived_id("thing", "a|b", "c") != derived_id("thing", "a", "b|c")
