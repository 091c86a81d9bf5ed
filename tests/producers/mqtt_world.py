"""An MQTT broker on a free port, a device that sends at QoS 1, and the bridge as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import iotcore
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from local.ports import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paho.mqtt.client import MQTTMessageInfo

    from broker.settings import KafkaSettings

ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 60.0


def mqtt_broker(port: int | None = None, **options: Any) -> iotcore.Broker:
    """Rumqttd. It keeps what a persistent session did not acknowledge, and sends it again on the next connection."""
    return iotcore.Broker(port=port or free_port(), listen=LOOPBACK, **options)


def guarded_broker(folder: Path, username: str, password: str) -> iotcore.Broker:
    """One that lets nobody in without the password."""
    configuration = folder / "mqtt.toml"
    configuration.write_text(f"""
id = 0
[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 1048576
max_segment_count = 10
[v4.1]
name = "guarded"
listen = "{LOOPBACK}:{free_port()}"
next_connection_delay_ms = 1
[v4.1.connections]
connection_timeout_ms = 60000
max_payload_size = 20480
max_inflight_count = 100
dynamic_filters = true
[v4.1.connections.auth]
{username} = "{password}"
""")
    return iotcore.Broker(config_path=str(configuration))


class Device:
    """Publishes temperatures and knows what the broker has."""

    def __init__(self, port: int, **credentials: str) -> None:
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=f"device-{uuid.uuid4().hex[:8]}")
        if credentials:
            self._client.username_pw_set(**credentials)
        self._client.max_inflight_messages_set(200)
        self._client.connect(LOOPBACK, port)
        self._client.loop_start()
        self._sent: list[MQTTMessageInfo] = []

    def send(self, unit: str, payload: str | bytes, *, retain: bool = False, site: str = "north") -> None:
        topic = f"organization/acme/site/{site}/unit/{unit}/temperature"
        self._sent.append(self._client.publish(topic, payload, qos=1, retain=retain))

    def all_acknowledged(self) -> None:
        deadline = time.monotonic() + WITHIN_S
        for info in self._sent:
            info.wait_for_publish(max(0.0, deadline - time.monotonic()))
            assert info.is_published()
        self._sent.clear()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def device(port: int, **credentials: str) -> Iterator[Device]:
    it = Device(port, **credentials)
    try:
        yield it
    finally:
        it.close()


class BridgeProcess:
    """`freshtrack mqtt`, started again and again under one client id."""

    def __init__(self, port: int, kafka: KafkaSettings, log: Path, **environment: str) -> None:
        self.log = log
        self._environment = {
            **os.environ,
            "MQTT_HOST": LOOPBACK,
            "MQTT_PORT": str(port),
            "MQTT_CLIENT_ID": f"bridge-{uuid.uuid4().hex[:8]}",
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli", "mqtt"], cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        return self.process

    def times_logged(self, event: str) -> int:
        return self.log.read_text().count(event)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def end(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)
