"""The demo's processes: their commands, their environment, and the order in which they start."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from local.child import Child, answers_http, says
from local.children import ROOT, kafka_child, mailbox_child, postgres_child, telnyx_child
from local.kafka import EmbeddedKafka
from local.ports import LOOPBACK, free_port, is_free
from local.postgres import EmbeddedPostgres
from local.telnyx.webhooks import Webhooks
from producers.demo_fleet import demo_fleet
from schemas.topics import UNITS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TELNYX_KEY = "demo-key"
WORKERS = ("detection", "notifications", "recorder")
UNITS_WITHIN_S = 30.0
# Eight processes start side by side: on a small or busy machine that takes its time.
READY_WITHIN_S = 120.0
# The workers follow the configuration within moments; a reading that overtook its unit would be a dead letter.
SETTLE_S = 0.2


class DemoChildren:
    """What runs, with its addresses. `folder` keeps all data; a demo that was there before goes on with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.kafka = EmbeddedKafka(folder / "kafka")
        self._postgres = EmbeddedPostgres(folder / "postgres")
        self._telnyx_port, self._mailbox_port, self._smtp_port = free_port(), free_port(), free_port()
        self._api_port = 8080 if is_free(8080) else free_port()
        self.key_file = folder / "api-key"
        self._environment = {
            "PYTHONPATH": str(ROOT),
            # What else a person may have set is for another place.
            **{name: "" for name in os.environ if name.startswith(("KAFKA_", "MAIL_"))},
            "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap,
            "KAFKA_TOPIC_PREFIX": "",
            "DATABASE_URL": self._postgres.url,
            "FRESHTRACK_API_URL": self.api_url,
            "FRESHTRACK_API_KEY": "",
            "FRESHTRACK_API_KEY_FILE": str(self.key_file),
            "TELNYX_API_URL": self.telnyx_url,
            "TELNYX_API_KEY": TELNYX_KEY,
            "TELNYX_FROM": "+12025550199",
            "TELNYX_MESSAGING_PROFILE_ID": "demo-profile",
            "TELNYX_PUBLIC_KEY": Webhooks(TELNYX_KEY, []).public_key,
            "TELNYX_WEBHOOK_URL": self.api_url,
            "PUBLIC_URL": self.api_url,
            "UNSUBSCRIBE_SECRET": "only for the demo on this machine",
            "MAIL_PROVIDER": "smtp",
            "MAIL_SMTP_HOST": LOOPBACK,
            "MAIL_SMTP_PORT": str(self._smtp_port),
            "MAIL_SMTP_SECURITY": "none",
        }

    @property
    def api_url(self) -> str:
        return f"http://{LOOPBACK}:{self._api_port}"

    @property
    def for_commands(self) -> dict[str, str]:
        """What `seed`, `replay` and the others need to reach this demo."""
        names = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "FRESHTRACK_API_URL", "FRESHTRACK_API_KEY_FILE")
        return {name: self._environment[name] for name in names}

    @property
    def mailbox_url(self) -> str:
        return f"http://{LOOPBACK}:{self._mailbox_port}"

    @property
    def database_url(self) -> str:
        return self._postgres.url

    @property
    def telnyx_url(self) -> str:
        return f"http://{LOOPBACK}:{self._telnyx_port}"

    def children(self) -> list[Child]:
        """In an order that the stack takes."""
        return [
            kafka_child(self.kafka),
            postgres_child(self._postgres),
            telnyx_child(self._telnyx_port, TELNYX_KEY),
            mailbox_child(self._smtp_port, self._mailbox_port),
            self._command("topics", "topics", "create", "--partitions", "4", after=("kafka",), job=True),
            self._command("schema", "db", "upgrade", after=("postgres",), job=True),
            Child(
                name="api",
                argv=[sys.executable, "-m", "cli", "api", "--port", str(self._api_port)],
                env=self._environment,
                folder=ROOT,
                after=("topics", "schema"),
                ready=answers_http(f"{self.api_url}/readyz"),
                ready_within_s=READY_WITHIN_S,
                grace_s=35,
            ),
            self._command("relay", "relay", after=("topics", "schema")),
            self._worker("detection", after=("topics",)),
            self._worker("notifications", after=("topics",)),
            self._worker("recorder", after=("topics", "schema")),
            Child(name="key", argv=self._key_command, after=("schema",), job=True),
            self._command("seed", "seed", "--demo", after=("api", "key"), job=True),
            # Digests come in the morning: what leads to the first SMS starts before.
            self._worker("digests", after=("seed", "mailbox")),
            Child(
                name="simulator",
                argv=self._simulator_command,
                env=self._environment,
                folder=ROOT,
                after=("seed", "relay", "telnyx", *WORKERS),
            ),
        ]

    def _command(self, name: str, *arguments: str, after: tuple[str, ...], job: bool = False) -> Child:
        return Child(
            name=name,
            argv=[sys.executable, "-m", "cli", *arguments],
            env=self._environment,
            folder=ROOT,
            after=after,
            job=job,
        )

    def _worker(self, name: str, after: tuple[str, ...]) -> Child:
        return Child(
            name=name,
            argv=[sys.executable, "-m", "cli", "worker", name],
            env=self._environment | {"DATA_DIR": str(self._folder / f"worker-{name}")},
            folder=ROOT,
            after=after,
            ready=says("worker.ready"),
            ready_within_s=READY_WITHIN_S,
            grace_s=40,
        )

    def _key_command(self) -> list[str]:
        """Makes the key: it goes into a file, for nobody but this user, and is on no screen and in no log."""
        if not self.key_file.exists():
            made = subprocess.run(
                [sys.executable, "-m", "cli", "key", "create", "--role", "admin", "--name", "demo"],
                cwd=ROOT,
                env={**os.environ, **self._environment},
                capture_output=True,
                text=True,
                check=False,
            )
            if made.returncode != 0:
                raise RuntimeError(f"no API key could be made: {made.stderr.strip()}")
            descriptor = os.open(self.key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(made.stdout)
        return [sys.executable, "-c", ""]

    def _simulator_command(self) -> list[str]:
        wait_for_units(self.kafka.bootstrap, {unit.unit_id for unit in demo_fleet().units})
        return [sys.executable, "-m", "cli", "simulate", "--first-breach"]


def wait_for_units(bootstrap: str, unit_ids: set[str]) -> None:
    """Until the relay has brought all of them to Kafka. Raises RuntimeError after half a minute."""
    settings: Mapping[str, str | bool] = {
        "bootstrap.servers": bootstrap,
        "group.id": "demo",
        "enable.auto.commit": False,
    }
    consumer = Consumer(dict(settings))
    try:
        numbers = consumer.list_topics(UNITS.name, timeout=UNITS_WITHIN_S).topics[UNITS.name].partitions
        consumer.assign([TopicPartition(UNITS.name, number, OFFSET_BEGINNING) for number in numbers])
        missing = set(unit_ids)
        deadline = time.monotonic() + UNITS_WITHIN_S
        while missing:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                missing.discard((message.key() or b"").decode())
            if time.monotonic() > deadline:
                raise RuntimeError(f"the relay did not bring {sorted(missing)} to Kafka; its log may say why")
    finally:
        consumer.close()
    time.sleep(SETTLE_S)
