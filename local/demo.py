"""`freshtrack demo`: the whole system with a simulated fleet and a fake SMS provider on one machine."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import sys
import time
from typing import TYPE_CHECKING

import httpx
import msgspec

from local.demo_children import DemoChildren
from local.demo_digest import send_digest
from local.demo_view import DemoView
from local.guest import temporary_folder
from local.output import PrefixedOutput
from local.stack import Stack
from local.telnyx.client import TelnyxControl

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ONCE_LIMIT_S = 90.0
RECORDED_WITHIN_S = 20.0


class Result(msgspec.Struct, frozen=True):
    """What `demo --once` prints as one JSON line.

    `boot_s`: until everything ran; `first_sms_s`: until the first SMS was out; `recorded`: the API tells the alert as
    triggered, with its SMS sent and delivered, and resolved.
    """

    sms_sent: int
    breach_to_provider_ms: int
    boot_s: float
    first_sms_s: float
    recorded: bool


class DemoFailedError(RuntimeError):
    """No breach was texted, resolved and recorded in time; the message says what was seen and where the logs are."""


class Demo:
    """The processes of the demo. `folder` keeps all data and one log a process."""

    def __init__(self, folder: Path, *, verbose: bool) -> None:
        self._folder = folder
        self._verbose = verbose
        self._begin = time.monotonic()
        self._begin_ms = time.time() * 1000
        self._parts = DemoChildren(folder)
        children = self._parts.children()
        self._output = PrefixedOutput([child.name for child in children])
        self._logs = {child.name: (folder / f"{child.name}.log").open("a", encoding="utf-8") for child in children}
        self._stack = Stack(children, on_line=self._on_line, on_notice=self._output.notice)

    async def run(self) -> None:
        """Until Ctrl-C."""
        async with self._running() as view:
            self._say(f"The log of each process, and all data: {self._folder}")
            for what, where in (
                ("HTTP interface", self._parts.api_url),
                ("its key", self._parts.key_file),
                ("what the SMS provider got", f"{self._parts.telnyx_url}/control/log"),
                ("the digests' mailbox", self._parts.mailbox_url),
                ("Kafka", self._parts.kafka.bootstrap),
                ("PostgreSQL", self._parts.database_url),
            ):
                self._say(f"  {what:26} {where}")
            self._say("For commands in another terminal:")
            variables = (f"{name}={shlex.quote(value)}" for name, value in self._parts.for_commands.items())
            self._say(f"  export {' '.join(variables)}")
            self._say("Ctrl-C ends everything. A door was left open; here is what happens:")
            beside = (
                asyncio.create_task(view.follow()),
                asyncio.create_task(send_digest(self._parts.for_commands, self._parts.mailbox_url, self._say)),
            )
            await self._stack.run_until()
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            self._say("Stopping …")

    async def once(self) -> Result:
        """Until a first breach was texted, resolved and recorded. Raises DemoFailedError after 90 s."""
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
                    f"no breach was texted and resolved within {ONCE_LIMIT_S:.0f} s; seen: {view.newest} "
                    f"{[o for o in outcomes if isinstance(o, Exception)] or ''}"
                )
            await self._recorded(view)
            control = TelnyxControl(self._parts.telnyx_url)
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
                first_sms_s=round((min(arrival.at_ms for arrival in arrivals) - self._begin_ms) / 1000, 1),
                recorded=True,
            )

    async def _recorded(self, view: DemoView) -> None:
        """Wait until the database has the whole story, as the HTTP interface tells it. Raises DemoFailedError."""
        alert_id, organization_id = view.story
        headers = {
            "Authorization": f"Bearer {self._parts.key_file.read_text().strip()}",
            "FreshTrack-Organization": organization_id,
        }
        deadline = time.monotonic() + RECORDED_WITHIN_S
        async with httpx.AsyncClient(base_url=self._parts.api_url, headers=headers, trust_env=False) as client:
            while True:
                alert = await client.get(f"/v1/alerts/{alert_id}")
                log = await client.get("/v1/sms-log", params={"alert_id": alert_id})
                outcomes = {row["outcome"] for row in log.json()["items"]} if log.is_success else set()
                if alert.is_success and alert.json()["resolved_at"] and outcomes >= {"sent", "delivered"}:
                    return
                if time.monotonic() > deadline:
                    raise DemoFailedError(
                        f"alert {alert_id} was not recorded with its SMS within {RECORDED_WITHIN_S:.0f} s; the API"
                        f" tells {alert.text[:300]}, and of its SMS {sorted(outcomes)}"
                    )
                await asyncio.sleep(0.1)

    @contextlib.asynccontextmanager
    async def _running(self) -> AsyncIterator[DemoView]:
        self._say("Starting Kafka, PostgreSQL, the API, the workers, a fake SMS provider and a fleet of twelve units …")
        try:
            view = DemoView(self._parts.kafka.bootstrap, self._say)
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


def run_demo(folder: Path, *, verbose: bool) -> None:
    """Until Ctrl-C; the data stays in `folder` for the next time."""
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(Demo(folder, verbose=verbose).run())


def run_demo_once(*, verbose: bool) -> Result:
    """A demo on fresh data that ends by itself; it leaves neither processes nor data behind."""
    with temporary_folder("freshtrack-demo-") as folder:
        return asyncio.run(Demo(folder, verbose=verbose).once())
