"""`freshtrack demo`: a broker, the workers, a simulated fleet and a fake SMS provider on one machine."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from local.child import Child
from local.children import ROOT, kafka_child, telnyx_child
from local.demo_view import DemoView
from local.kafka import EmbeddedKafka
from local.output import PrefixedOutput
from local.ports import LOOPBACK, free_port
from local.stack import Stack
from local.telnyx.client import TelnyxControl

if TYPE_CHECKING:
    from local.child import Running

API_KEY = "demo-key"
ONCE_LIMIT_S = 90.0
WORKERS = ("detection", "notifications")


class Result(msgspec.Struct, frozen=True):
    """What `demo --once` prints as one JSON line."""

    sms_sent: int
    breach_to_provider_ms: int
    boot_s: float


class DemoFailedError(RuntimeError):
    """No breach was texted and resolved in time; the message says what was seen and where the logs are."""


class Demo:
    """The processes of the demo. `folder` keeps the broker's data and one log a process."""

    def __init__(self, folder: Path, *, verbose: bool) -> None:
        self._folder = folder
        self._verbose = verbose
        self._kafka = EmbeddedKafka(folder / "kafka")
        self._telnyx_port = free_port()
        self._begin = time.monotonic()
        self._environment = {
            "KAFKA_BOOTSTRAP_SERVERS": self._kafka.bootstrap,
            "PYTHONPATH": str(ROOT),
            "TELNYX_API_URL": f"http://{LOOPBACK}:{self._telnyx_port}",
            "TELNYX_API_KEY": API_KEY,
            "TELNYX_FROM": "+12025550199",
            "TELNYX_MESSAGING_PROFILE_ID": "demo-profile",
        }
        children = [
            kafka_child(self._kafka),
            telnyx_child(self._telnyx_port, API_KEY),
            self._command("topics", "topics", "create", after=("kafka",), job=True),
            *(self._worker(name) for name in WORKERS),
            self._command("simulator", "simulate", "--first-breach", after=("kafka", "telnyx", *WORKERS)),
        ]
        self._output = PrefixedOutput([child.name for child in children])
        self._logs = {child.name: (folder / f"{child.name}.log").open("a", encoding="utf-8") for child in children}
        self._stack = Stack(children, on_line=self._on_line, on_notice=self._output.notice)

    async def run(self) -> None:
        """Until Ctrl-C."""
        async with self._running() as view:
            self._say(f"The log of each process, and the broker's data: {self._folder}")
            self._say(f"Kafka, for a Kafka UI: {self._kafka.bootstrap}")
            self._say(f"What the SMS provider got: http://{LOOPBACK}:{self._telnyx_port}/control/log")
            self._say("Ctrl-C ends everything. A door was left open; here is what happens:")
            following = asyncio.create_task(view.follow())
            await self._stack.run_until()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            self._say("Stopping …")

    async def once(self) -> Result:
        """Until a first breach was texted and resolved. Raises DemoFailedError after 90 s."""
        async with self._running() as view:
            boot_s = time.monotonic() - self._begin
            following = asyncio.create_task(view.follow())
            ending = asyncio.create_task(self._stack.run_until(view.first_story))
            await asyncio.wait((following, ending), timeout=ONCE_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
            for task in (following, ending):
                task.cancel()
            outcomes = await asyncio.gather(following, ending, return_exceptions=True)
            if not view.first_story.is_set():
                raise DemoFailedError(
                    f"no breach was texted and resolved within {ONCE_LIMIT_S:.0f} s; seen: {view.told} "
                    f"{[o for o in outcomes if isinstance(o, Exception)] or ''}"
                )
            control = TelnyxControl(f"http://{LOOPBACK}:{self._telnyx_port}")
            try:
                arrivals = control.log().arrivals
            finally:
                control.close()
            texts = view.texts_of_first_story
            first = min(arrival.at_ms for arrival in arrivals if arrival.text in texts)
            return Result(
                sms_sent=sum(arrival.accepted for arrival in arrivals),
                breach_to_provider_ms=round(first - view.first_breach_at_ms),
                boot_s=round(boot_s, 1),
            )

    @contextlib.asynccontextmanager
    async def _running(self):  # type: ignore[no-untyped-def]  # noqa: ANN202
        self._say("Starting a Kafka broker, a fake SMS provider, two workers and a fleet of twelve units …")
        try:
            view = DemoView(self._kafka.bootstrap, self._say)
            await self._stack.start()
            self._say(f"Ready after {time.monotonic() - self._begin:.1f} s.")
            async with view:
                yield view
        finally:
            await self._stack.stop()
            for log in self._logs.values():
                log.close()

    def _on_line(self, name: str, line: str) -> None:
        self._logs[name].write(line + "\n")
        self._logs[name].flush()
        if self._verbose:
            self._output.line(name, line)

    def _say(self, sentence: str) -> None:
        sys.stderr.write(sentence + "\n")
        sys.stderr.flush()

    def _command(self, name: str, *arguments: str, after: tuple[str, ...], job: bool = False) -> Child:
        return Child(
            name=name,
            argv=[sys.executable, "-m", "cli", *arguments],
            env=self._environment,
            folder=ROOT,
            after=after,
            job=job,
        )

    def _worker(self, name: str) -> Child:
        environment = self._environment | {"DATA_DIR": str(self._folder / f"worker-{name}")}

        async def ready(running: Running) -> bool:
            return any("worker.ready" in line for line in running.lines)

        return Child(
            name=name,
            argv=[sys.executable, "-m", "cli", "worker", name],
            env=environment,
            folder=ROOT,
            after=("kafka", "topics"),
            ready=ready,
            grace_s=40,
        )


def run_demo(folder: Path, *, verbose: bool) -> None:
    """Until Ctrl-C; the broker's data stays in `folder` for the next time."""
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(Demo(folder, verbose=verbose).run())


def run_demo_once(*, verbose: bool) -> Result:
    """A demo on fresh data that ends by itself; it leaves neither processes nor data behind."""
    with tempfile.TemporaryDirectory(prefix="freshtrack-demo-") as folder:
        return asyncio.run(Demo(Path(folder), verbose=verbose).once())
