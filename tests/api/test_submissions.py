"""Bodies that are no readings at all: a clear answer before anything is sent. No broker is needed for these."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from schemas.roles import Role

if TYPE_CHECKING:
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"unit_id": "fridge", "at_ms": 1, "temperature_c": NaN}', 400),
        (b'{"unit_id": "fridge", "at_ms": 1, "temperature_c": 1e999}', 422),
        (b'{"unit_id": "fridge", "at_ms": 1772366400000, "temperature_c": 900}', 422),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"unit_id": "fridge"}', 422),
        (b'{"unit_id": "fridge", "readings": []}', 422),
        (b'{"unit_id": "fridge", "readings": [], "batches": []}', 422),
        (b'{"unit_id": "fridge", "temperature": 4}', 422),
        (b'{"batches": []}', 422),
        (b'{"unit_id": "fridge", "at_ms": 1772366400000, "temperature_c": 4, "batches": [{}]}', 422),
        (b'{"unit_id": "f", "at_ms": 1772366400000, "temperature_c": 4, "readings": [{}]}', 422),
        (b"[" * 100_000, 422),
        (b'{"unit_id": "\xff"}', 400),
    ],
)
async def test_what_is_no_submission_gets_a_problem(api: Api, body: bytes, status: int) -> None:
    answer = await api.client.post("/v1/readings", content=body, headers=await api.key(Role.GATEWAY, "acme"))

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail"} <= answer.json().keys()
