"""Bounds the messages that are on their way from MQTT to Kafka."""

from __future__ import annotations

import threading

import msgspec
import structlog

log = structlog.get_logger(__name__)

TELL_EVERY_S = 10.0


class Window:
    """Bounds what is on the way: `enter` waits for room, `leave` makes some. A single message always has room."""

    def __init__(self, messages: int, size: int) -> None:
        self._limits = messages, size
        self._room = threading.Condition()
        self._closed = False
        self.messages = 0
        self._size = 0

    def enter(self, size: int) -> bool:
        """False when the window was closed; then nothing has entered."""
        with self._room:
            while not self._room.wait_for(lambda: self._closed or self._has_room(size), TELL_EVERY_S):
                log.warning("mqtt.waiting_for_kafka", messages=self.messages)
            if not self._closed:
                self.messages += 1
                self._size += size
            return not self._closed

    def _has_room(self, size: int) -> bool:
        messages, total = self._limits
        return not self.messages or (self.messages < messages and self._size + size <= total)

    def leave(self, size: int) -> None:
        with self._room:
            self.messages -= 1
            self._size -= size
            self._room.notify_all()

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._room:
            self._closed = True
            self._room.notify_all()


class Open(msgspec.Struct):
    """A message that is not acknowledged yet, the connection on which it came, and how many records Kafka lacks."""

    mid: int
    qos: int
    size: int
    readings: int
    connection: int
    missing: int
