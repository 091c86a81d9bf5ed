"""A field of a unit is declared once for HTTP, once as a column and, where workers need it, once in the message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from database.configuration import UnitRow
from schemas import messages as m
from schemas.http.units import UnitFields
from schemas.roles import Role

if TYPE_CHECKING:
    from tests.api_world import Api

# What only the API uses: the sensor's name in its vendor's network.
NOT_FOR_WORKERS = {"device_id"}
# Another value than the default of every field; a new field fails the test below until it has one here.
VALUES: dict[str, Any] = {
    "name": "Vaccines",
    "gateway_id": "gw-1",
    "device_id": "dev-1",
    "expected_interval_s": 60,
    "offline_after_missed": 5,
    "offline_delay_s": 600,
    "offline_severity": "critical",
    "live_window_s": 1_800,
}


def test_request_column_and_message_have_the_same_fields_and_defaults() -> None:
    fields = set(UnitFields.model_fields)
    assert fields == set(VALUES)
    assert fields <= set(UnitRow.__table__.columns.keys())
    assert fields - NOT_FOR_WORKERS <= set(m.UnitConfig.__struct_fields__)
    message = m.UnitConfig(unit_id="u", organization_id="o", name="n")
    for name, field in UnitFields.model_fields.items():
        if not field.is_required() and name not in NOT_FOR_WORKERS:
            assert field.default == getattr(message, name), name
            default = UnitRow.__table__.columns[name].server_default
            told = None if default is None else str(default.arg).strip("'")
            assert told == (None if field.default is None else str(field.default)), name


@pytest.mark.anyio
@pytest.mark.postgres
async def test_every_field_that_is_set_is_shown_and_reaches_the_workers(api: Api) -> None:
    ops = await api.key(Role.OPS, "acme")
    await api.client.post("/v1/units", json={"unit_id": "u", "name": "Fridge"}, headers=ops)
    replaced = await api.client.put("/v1/units/u", json=VALUES, headers=ops)

    shown = (await api.client.get("/v1/units/u", headers=ops)).json()
    _, _, config = (await api.outbox())[-1]

    assert replaced.status_code == 200
    assert config is not None
    assert {name: shown[name] for name in VALUES} == VALUES
    assert {name: config[name] for name in VALUES.keys() - NOT_FOR_WORKERS} == {
        name: value for name, value in VALUES.items() if name not in NOT_FOR_WORKERS
    }
