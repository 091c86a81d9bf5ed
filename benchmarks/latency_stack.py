"""What the latency benchmark runs against: topics of its own, units and people, two workers, and their input."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from broker.partition_counts import PartitionCounts
from broker.topics import create_topics
from schemas import messages as m
from schemas.messages import encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from local.telnyx.client import TelnyxProcess

ROOT = Path(__file__).resolve().parents[1]
RULE = m.Rule(rule_id="high", limit=m.Limit.HIGH, severity=m.Severity.CRITICAL, limit_c=8.0)
READY_WITHIN_S = 60
END_WITHIN_S = 60


def phone(number: int) -> str:
    """One of the hundred numbers that belong to nobody."""
    return f"+1202555{100 + number % 100:04d}"


class Stack:
    def __init__(self, bootstrap: str, folder: Path, telnyx: TelnyxProcess) -> None:
        self._folder = folder
        self._prefix = f"latency{time.time_ns() % 1_000_000_000}."
        create_topics({"bootstrap.servers": bootstrap}, prefix=self._prefix, partitions=PartitionCounts(4))
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "partitioner": "murmur2_random",
                "linger.ms": 0,
                "queue.buffering.max.messages": 500_000,
            },
        )
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "KAFKA_TOPIC_PREFIX": self._prefix,
            "TELNYX_API_URL": telnyx.url,
            "TELNYX_API_KEY": telnyx.api_key,
            "TELNYX_FROM": "+12025550199",
            "TELNYX_MESSAGING_PROFILE_ID": "profile-1",
        }

    def _send(self, topic: str, key: str, value: bytes) -> None:
        self._producer.produce(self._prefix + topic, key=key, value=value)
        self._producer.poll(0)

    def _flush(self) -> None:
        if self._producer.flush(60):
            raise RuntimeError("not everything reached the broker")

    def _contact(self, user_id: str, organization_id: str, number: int) -> None:
        contact = m.Contact(user_id=user_id, organization_id=organization_id, name="Ada", phone_e164=phone(number))
        self._send("contacts", user_id, encode(contact))

    def configure(self, units: int) -> None:
        """Each unit belongs to an organization of its own, with one person on duty."""
        for number in range(units):
            unit = m.UnitConfig(
                unit_id=f"unit-{number}", organization_id=f"org-{number}", name=f"Unit {number}", rules=(RULE,)
            )
            self._send("units", unit.unit_id, encode(unit))
            self._contact(f"user-{number}", unit.organization_id, number)
        self._flush()

    def queue_info(self, count: int) -> None:
        """Info SMS in the lane, each to another person, of a hundred organizations."""
        now_ms = int(time.time() * 1000)
        for number in range(count):
            request = m.SmsRequest(
                request_id=f"info-{number}",
                alert_id=f"info-alert-{number}",
                unit_id="unit-info",
                organization_id=f"org-info-{number % 100}",
                user_id=f"user-info-{number}",
                kind=m.AlertKind.TEMPERATURE_HIGH,
                severity=m.Severity.INFO,
                text=f"Info {number}: nothing that cannot wait",
                breach_at_ms=now_ms,
                requested_at_ms=now_ms,
            )
            self._contact(request.user_id, request.organization_id, number)
            self._send("sms-info", request.user_id, encode(request))
        self._flush()

    def breach(self, number: int) -> None:
        """A reading above the limit of this unit, now."""
        reading = m.Reading(int(time.time() * 1000), 9.5)
        self._send("readings", f"unit-{number}", encode(m.ReadingBatch(f"unit-{number}", [reading])))

    @contextmanager
    def workers(self, settings: Mapping[str, str]) -> Iterator[None]:
        with ExitStack() as stack:
            logs = [stack.enter_context(self._worker(name, settings)) for name in ("detection", "notifications")]
            deadline = time.monotonic() + READY_WITHIN_S
            while not all(b"worker.ready" in log.read_bytes() for log in logs):
                if time.monotonic() > deadline:
                    last_words = "\n".join(log.read_text()[-1000:] for log in logs)
                    raise TimeoutError(f"the workers are not ready after {READY_WITHIN_S} s: {last_words}")
                time.sleep(0.1)
            yield

    @contextmanager
    def _worker(self, name: str, settings: Mapping[str, str]) -> Iterator[Path]:
        log = self._folder / f"{name}.log"
        environment = {**self._environment, "DATA_DIR": str(self._folder / name), **settings}
        with log.open("ab") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "cli", "worker", name], cwd=ROOT, env=environment, stdout=stream, stderr=stream
            )
        try:
            yield log
        finally:
            process.terminate()
            try:
                process.wait(END_WITHIN_S)
            finally:
                process.kill()
