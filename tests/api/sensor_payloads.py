"""Payloads of sensor vendors' networks for tests: the vendors' own examples, and builders of made-up ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
NOON = "2026-03-01T12:00:00.123456789Z"
NOON_MS = 1_772_366_400_123


def example(path: str) -> Any:
    file = DATA / path
    if not file.exists():
        pytest.skip(f"the vendor's examples ({path}) are not beside this checkout")
    return json.loads(file.read_text(encoding="utf-8"))


def raw(payload: Any) -> bytes:
    return json.dumps(payload).encode()


def uplink(decoded: Any = None, normalized: Any = None, **fields: Any) -> dict[str, Any]:
    message: dict[str, Any] = {"f_port": 2, "received_at": NOON}
    if decoded is not None:
        message["decoded_payload"] = decoded
    if normalized is not None:
        message["normalized_payload"] = normalized
    return {"end_device_ids": {"device_id": "dev1"}, "received_at": NOON, "uplink_message": message, **fields}


def dt_event(kind: str, data: Any, target: str = "projects/p1/devices/d1") -> dict[str, Any]:
    event = {"eventId": "e1", "targetName": target, "eventType": kind, "data": {kind: data}, "timestamp": NOON}
    return {"event": event, "labels": {"name": "Freezer"}}
