"""One child process of the stack: how it is started, when it is ready, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections import deque
from signal import SIGCONT, SIGKILL, SIGTERM, Signals
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from local.processes import guard, release

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

RECENT_LINES = 200
LONGEST_LINE_BYTES = 65_536
# A process that is gone may have left its output open in another one.
OUTPUT_AFTER_END_S = 1.0


class Running(Protocol):
    """What a ready-check may look at."""

    @property
    def pid(self) -> int: ...

    @property
    def lines(self) -> Sequence[str]:
        """Its newest lines of output, 200 at most."""


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """A process that the stack keeps running.

    `argv` may be a function that prepares the start and gives the command; it is called in a thread before each start.
    `env` is added to this process's environment. `ready` is asked until it is true, every 50 ms; a child without one
    is ready when it runs. `after` names the children that must be ready before, and that are stopped after it.
    A `job` runs once and is ready when it has ended with exit code 0.
    """

    name: str
    argv: Sequence[str] | Callable[[], Sequence[str]]
    env: Mapping[str, str] = {}
    folder: Path | None = None
    user: int | None = None
    ready: Callable[[Running], Awaitable[bool]] | None = None
    ready_within_s: float = 60
    after: tuple[str, ...] = ()
    restart: bool = True
    job: bool = False
    ending: Signals = SIGTERM
    grace_s: float = 10


class Run:
    """One life of a child."""

    def __init__(
        self, child: Child, process: asyncio.subprocess.Process, output: int, tell: Callable[[str], None]
    ) -> None:
        self.child = child
        self.pid = process.pid
        self.lines: deque[str] = deque(maxlen=RECENT_LINES)
        self._process = process
        self._tell = tell
        self._output = asyncio.create_task(self._follow(output))

    @classmethod
    async def begin(cls, child: Child, tell: Callable[[str], None]) -> Run:
        """Every line of output goes to `tell`. Raises OSError when the command cannot be run."""
        argv = await asyncio.to_thread(child.argv) if callable(child.argv) else child.argv
        # uvloop knows no other user: such a child needs asyncio's own loop.
        identity: dict[str, Any] = (
            {} if child.user is None else {"user": child.user, "group": child.user, "extra_groups": ()}
        )
        # A pipe of our own: with asyncio's, its wait() would last until everyone closed it who inherited it.
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env={**os.environ, **child.env},
                cwd=child.folder,
                **identity,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                start_new_session=True,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        guard(process.pid, child.ending)
        return cls(child, process, reading, tell)

    async def ended(self) -> int:
        """Wait for its end; returns the exit code, negative for a signal. What it left in its group ends too."""
        code = await self._process.wait()
        self.signal(SIGKILL)
        release(self.pid)
        await asyncio.wait((self._output,), timeout=OUTPUT_AFTER_END_S)
        self._output.cancel()
        await asyncio.gather(self._output, return_exceptions=True)
        return code

    async def becomes_ready(self) -> bool:
        """False when the time for it has passed."""
        check = self.child.ready
        if check is None:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.child.ready_within_s):
                while not await self._answers(check):  # noqa: ASYNC110 - another process sets no event here
                    await asyncio.sleep(0.05)
                return True
        return False

    def signal(self, number: Signals) -> None:
        """To the whole group; one that is gone already is fine."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def ask_to_end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(self.child.ending)
        self.signal(SIGCONT)

    async def _answers(self, check: Callable[[Running], Awaitable[bool]]) -> bool:
        try:
            return await check(self)
        except OSError:
            return False

    async def _follow(self, output: int) -> None:
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb")
        )
        pending = b""
        try:
            while received := await reader.read(LONGEST_LINE_BYTES):
                *lines, pending = (pending + received).split(b"\n")
                if len(pending) > LONGEST_LINE_BYTES:
                    lines, pending = [*lines, pending], b""
                for line in lines:
                    self._emit(line)
        finally:
            transport.close()
            if pending:
                self._emit(pending)

    def _emit(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        self.lines.append(text)
        self._tell(text)


def says(pattern: str) -> Callable[[Running], Awaitable[bool]]:
    """Ready when a line of its output matches the regular expression."""
    expression = re.compile(pattern)

    async def check(running: Running) -> bool:
        return any(expression.search(line) for line in running.lines)

    return check


def listens(port: int, host: str = "127.0.0.1") -> Callable[[Running], Awaitable[bool]]:
    """Ready when it accepts connections on a port."""

    async def check(_: Running) -> bool:
        _reader, writer = await asyncio.open_connection(host, port)
        writer.close()
        await writer.wait_closed()
        return True

    return check


def answers_http(url: str) -> Callable[[Running], Awaitable[bool]]:
    """Ready when a GET of the URL is answered with 2xx."""
    import httpx

    async def check(_: Running) -> bool:
        try:
            async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
                return (await client.get(url)).is_success
        except httpx.HTTPError:
            return False

    return check
