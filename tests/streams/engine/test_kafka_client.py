from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.protocol.group import HeartbeatRequest, LeaveGroupRequest

from streams.engine.kafka_client import KafkaClient

pytestmark = pytest.mark.anyio


async def test_contact_counts_from_before_the_heartbeat_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer says only that the group had heard of this worker when it was asked."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    code = 0

    async def send(_: Any) -> Any:
        clock.now += 7
        return SimpleNamespace(error_code=code)

    client, coordinator = KafkaClient.__new__(KafkaClient), SimpleNamespace(_send_req=send)
    client.watch_contact(coordinator)
    await coordinator._send_req(HeartbeatRequest("group", 1, "me"))
    assert client.last_contact == 100.0
    # The group rebalances, and has heard of us all the same.
    code = 27
    await coordinator._send_req(HeartbeatRequest("group", 1, "me"))
    assert client.last_contact == 107.0
    # It knows another generation: others have the partitions.
    code = 22
    await coordinator._send_req(HeartbeatRequest("group", 1, "me"))
    code = 0
    await coordinator._send_req(LeaveGroupRequest("group", "me"))
    assert client.last_contact == 107.0
