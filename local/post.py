"""One child process's place in a stack: its runs, one after the other, and what ended each."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from local.child import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.child import Child


class Post:
    """A child's place in the stack, over all its lives."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.run: Run | None = None
        self.ready = asyncio.Event()
        self.over = asyncio.Event()
        self.stopping = asyncio.Event()
        self.failure: str | None = None
        self.starts = 0
        self.task: asyncio.Task[None] | None = None

    @property
    def waits(self) -> bool:
        return not self.ready.is_set() and not self.over.is_set()

    async def live(self, on_line: Callable[[str], None]) -> str:
        """Run the child once; returns in words what ended it."""
        child = self.child
        self.starts += 1
        try:
            run = self.run = await Run.begin(child, on_line)
        except (OSError, RuntimeError) as error:
            what = f"could not be started: {error}"
            self.failure = f"{child.name} {what}" if self.starts == 1 else None
            return what
        end = asyncio.create_task(run.ended())
        if self.stopping.is_set():
            run.ask_to_end()
        try:
            what = await self._until_end(run, end)
        finally:
            if not end.done():
                run.signal(signal.SIGKILL)
                await end
            was_ready = self.ready.is_set()
            if not child.job:
                self.ready.clear()
            self.run = None
        if self.starts == 1 and not was_ready and not self.stopping.is_set():
            self.failure = f"{child.name} {what} at its first start. Its last lines:\n" + "\n".join([*run.lines][-12:])
        return what

    async def _until_end(self, run: Run, end: asyncio.Task[int]) -> str:
        if self.child.job:
            code = await end
            if code == 0:
                self.ready.set()
            return _words(code)
        becoming = asyncio.create_task(run.becomes_ready())
        try:
            await asyncio.wait((end, becoming), return_when=asyncio.FIRST_COMPLETED)
            if end.done() or becoming.result():
                if not end.done():
                    self.ready.set()
                return _words(await end)
            run.signal(signal.SIGKILL)
            await end
            return f"was not ready within {self.child.ready_within_s:g} s"
        finally:
            becoming.cancel()
            await asyncio.gather(becoming, return_exceptions=True)


def _words(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
