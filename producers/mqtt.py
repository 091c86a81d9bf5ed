"""From MQTT to Kafka: what a broker delivers for `organization/+/site/+/unit/+/temperature` goes to `readings`.

A message is acknowledged to the MQTT broker only when Kafka has it, and the session is persistent (MQTT 3.1.1, clean
session off, QoS 1). So what arrives while the bridge or Kafka is away waits at the MQTT broker, as much of it as that
is configured to keep (mosquitto: `max_queued_messages`, 1,000 by default; raise it). After a crash what was not
acknowledged comes again, and makes the same record with the same `id` header, unless it is a bare number: that gets
the new time of arrival.

Memory is bounded by a window of messages on the way to Kafka. While it is full the bridge reads nothing more, and
the MQTT broker waits; a connection that ends by that is reopened, and the broker sends again what was open.

paho-mqtt is used rather than aiomqtt, which acknowledges each message before anybody has seen it.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from prometheus_client import Counter, Gauge

from broker.partition_counts import BrokerUnreachableError, TopicError, check_partitions
from producers.errors import NotDeliveredError
from producers.kafka import ReadingsProducer
from producers.mqtt_payload import TOPIC, TOPIC_OF_ONE, understand
from producers.mqtt_window import Open, Window
from schemas.headers import type_name
from schemas.messages import ReadingBatch
from schemas.topics import READINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import KafkaError, Message
    from paho.mqtt.client import ConnectFlags, DisconnectFlags
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from broker.settings import KafkaSettings
    from producers.mqtt_settings import MqttSettings

log = structlog.get_logger(__name__)

RECEIVED = Counter("freshtrack_mqtt_received", "MQTT messages that arrived")
ACKNOWLEDGED = Counter("freshtrack_mqtt_acknowledged", "MQTT messages that Kafka has")
READINGS_SENT = Counter("freshtrack_mqtt_readings", "Readings in messages that Kafka has")
NOT_UNDERSTOOD = Counter("freshtrack_mqtt_not_understood", "MQTT messages that went, in part, to the dead letters")
NOT_SENT = Counter("freshtrack_mqtt_retained_without_time", "Retained messages that tell no time, and are not sent")
CONNECTED = Gauge("freshtrack_mqtt_connected", "1 while the MQTT broker is connected")
ON_THE_WAY = Gauge("freshtrack_mqtt_on_the_way", "MQTT messages that Kafka does not have yet")

QOS = 1
FLUSH_S = 10.0
_TYPE = type_name(ReadingBatch)
_KAFKA = {
    # Until Kafka has it: what is on the way is bounded by the window, and giving up would help nobody.
    "delivery.timeout.ms": 0,
    # librdkafka writes twenty lines a second while no broker answers; the window says it every ten seconds.
    "log_level": 2,
}


class BridgeFailedError(RuntimeError):
    """The bridge cannot go on; what it did not acknowledge comes again at its next start."""


class Bridge:
    """`run()` works until `stop()`: paho's thread brings messages, the producer's tells what Kafka has.

    `now_ms` is the time of arrival.
    """

    def __init__(self, settings: MqttSettings, kafka: KafkaSettings, now_ms: Callable[[], int]) -> None:
        self._settings = settings
        self._kafka = kafka
        self._now_ms = now_ms
        self._topic = TOPIC if settings.organization is None else TOPIC_OF_ONE
        self._over = threading.Event()
        self._failure: str | None = None
        self._window = Window(settings.window, settings.window_bytes)
        # A message id means something on its own connection only: acknowledged on the next one it would be another's.
        self._connection = 0
        self._open: deque[Open] = deque()
        self._open_lock = threading.Lock()
        self.subscribed = False
        self.acknowledged = 0

    @property
    def on_the_way(self) -> int:
        """Messages that Kafka does not have yet."""
        return self._window.messages

    def stop(self) -> None:
        self._over.set()

    def run(self) -> None:
        """Returns when stopped. Raises BridgeFailedError when Kafka refuses records, such as for a missing topic."""
        try:
            check_partitions(self._kafka.librdkafka(), [READINGS], prefix=self._kafka.topic_prefix, time_limit_s=5)
        except TopicError as error:
            raise BridgeFailedError(str(error)) from error
        except BrokerUnreachableError as error:
            log.warning("mqtt.kafka_away", error=str(error))
        self._producer = ReadingsProducer(_KAFKA | self._kafka.librdkafka(), prefix=self._kafka.topic_prefix)
        client = self._client()
        client.connect_async(*self._settings.address, keepalive=self._settings.keepalive_s)
        client.loop_start()
        self._over.wait()
        # What arrives from here on, and what Kafka does not take now, is not acknowledged and comes again.
        self._window.close()
        with suppress(NotDeliveredError):
            self._producer.flush(0.0 if self._failure else FLUSH_S)
        client.disconnect()
        client.loop_stop()
        with suppress(NotDeliveredError):
            self._producer.close(0.0)
        if self._failure is not None:
            raise BridgeFailedError(self._failure)

    def _client(self) -> Client:
        settings = self._settings
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            clean_session=False,
            protocol=MQTTProtocolVersion.MQTTv311,
            manual_ack=True,
        )
        if settings.username is not None:
            password = settings.password
            client.username_pw_set(settings.username, None if password is None else password.get_secret_value())
        if settings.tls:
            ca, certificate, key = (
                None if file is None else str(file)
                for file in (settings.ca_file, settings.cert_file, settings.key_file)
            )
            client.tls_set(ca_certs=ca, certfile=certificate, keyfile=key)
        client.reconnect_delay_set(1, settings.longest_pause_s)
        client.on_connect = self._on_connect
        client.on_connect_fail = lambda *_: log.warning("mqtt.unreachable", address="{}:{}".format(*settings.address))
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _on_connect(
        self, client: Client, _: object, flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            log.error("mqtt.refused", reason=str(reason))
            return
        self._new_connection()
        log.info("mqtt.connected", broker="{}:{}".format(*self._settings.address), resumed=flags.session_present)
        client.subscribe(self._topic, QOS)

    def _on_subscribe(
        self, _: Client, __: object, ___: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self._fail(
                f"the MQTT broker does not let {self._settings.client_id!r} subscribe to {self._topic}; allow it there"
            )
            return
        self.subscribed = True
        CONNECTED.set(1)
        log.info("mqtt.subscribed", topic=self._topic)

    def _on_disconnect(
        self, _: Client, __: object, ___: DisconnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        self._new_connection()
        self.subscribed = False
        CONNECTED.set(0)
        if not self._over.is_set():
            log.warning("mqtt.disconnected", reason=str(reason))

    def _new_connection(self) -> None:
        with self._open_lock:
            self._connection += 1
            self._open.clear()

    def _on_message(self, client: Client, _: object, message: MQTTMessage) -> None:
        if not self._window.enter(len(message.payload)):
            return
        RECEIVED.inc()
        ON_THE_WAY.set(self.on_the_way)
        try:
            self._forward(client, message)
        except Exception as error:  # noqa: BLE001 - in paho's thread, which would end in silence
            self._fail(f"{type(error).__name__}: {error}")

    def _forward(self, client: Client, message: MQTTMessage) -> None:
        forward = understand(
            message.topic,
            bytes(message.payload),
            arrived_ms=self._now_ms(),
            organization_id=self._settings.organization,
            retained=message.retain,
        )
        if forward.problem is not None:
            (NOT_UNDERSTOOD if forward.values else NOT_SENT).inc()
            log.warning("mqtt.not_understood", topic=message.topic, problem=forward.problem[:500])
        size, records = len(message.payload), len(forward.values)
        this = Open(message.mid, message.qos, size, forward.readings, self._connection, records)
        with self._open_lock:
            self._open.append(this)
        if not records:
            self._taken(client, this)

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                self._fail(f"Kafka did not take a record for {READINGS.name}: {error.str()} ({error.name()})")
                return
            # Not only the producer's own thread serves acknowledgements: whoever waits for it does, too.
            with self._open_lock:
                this.missing -= 1
                last = not this.missing
            if last:
                self._taken(client, this)

        for value in forward.values:
            self._producer.send(READINGS, forward.key, value, message_type=_TYPE, on_delivery=delivered)

    def _taken(self, client: Client, message: Open) -> None:
        """Kafka has it: acknowledge it, in the order of arrival, as MQTT wants it (MQTT-4.6.0-2)."""
        with self._open_lock:
            if message.connection == self._connection:
                while self._open and not self._open[0].missing:
                    first = self._open.popleft()
                    client.ack(first.mid, first.qos)
            self.acknowledged += 1
        self._window.leave(message.size)
        ACKNOWLEDGED.inc()
        READINGS_SENT.inc(message.readings)
        ON_THE_WAY.set(self.on_the_way)

    def _fail(self, why: str) -> None:
        if not self._over.is_set():
            log.error("mqtt.failed", why=why)
            self._failure = why
        self._over.set()
