"""The supervisor: runs child processes in order, shows what they say, restarts what dies, takes all of them down."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from typing import TYPE_CHECKING

from local.post import Post

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from local.child import Child

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0
# A child that ran so long before it died starts again as if it had never died.
STEADY_AFTER_S = 60.0


class StackDidNotStartError(RuntimeError):
    """A child ended or was not ready in time at the first start; the message holds its last lines."""


class Stack:
    """Child processes and what keeps them running. Ends with this process, even if it is killed.

    `on_line(child, line)` gets every line of output, `on_notice(child, sentence)` what the stack itself has to tell:
    a child that died and when it starts again, one that had to be killed. Both are called in the event loop.
    """

    def __init__(
        self,
        children: Iterable[Child],
        *,
        on_line: Callable[[str, str], None] = lambda _child, _line: None,
        on_notice: Callable[[str, str], None] = lambda _child, _sentence: None,
    ) -> None:
        self._children = tuple(children)
        self._on_line = on_line
        self._on_notice = on_notice
        self._posts: dict[str, Post] = {}
        _check(self._children)

    async def start(self) -> None:
        """Start all children, each as soon as those before it are ready, and wait until all are.

        Raises StackDidNotStartError, and leaves nothing running then.
        """
        self._posts = {child.name: Post(child) for child in self._children}
        for post in self._posts.values():
            post.task = asyncio.create_task(self._keep(post))
        settled = [asyncio.create_task(self._settled(post)) for post in self._posts.values()]
        try:
            await asyncio.gather(*settled)
        except BaseException:
            for task in settled:
                task.cancel()
            await asyncio.gather(*settled, return_exceptions=True)
            await self.stop()
            raise

    async def run_until(self, done: asyncio.Event | None = None) -> bool:
        """Wait until `done` is set, or until Ctrl-C or SIGTERM; returns whether it was `done`.

        A second Ctrl-C, while the stack is being stopped, kills what is left.
        """
        loop = asyncio.get_running_loop()
        asked = asyncio.Event()

        def ask() -> None:
            if asked.is_set():
                self.kill()
            asked.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ask)
        waiting = [asyncio.create_task(event.wait()) for event in (asked, done) if event is not None]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        return done is not None and done.is_set() and not asked.is_set()

    async def stop(self) -> None:
        """End all children in good order, the last started first; what outlives its grace time is killed."""
        posts = list(self._posts.values())
        await asyncio.gather(*(self._take_down(post) for post in posts))
        await asyncio.gather(*(post.task for post in posts if post.task is not None))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    def kill(self) -> None:
        """`kill -9` for every child that still runs."""
        for post in self._posts.values():
            post.stopping.set()
            if post.run is not None:
                post.run.signal(signal.SIGKILL)

    def pid(self, name: str) -> int | None:
        """The process id of a child's present life; None while it does not run."""
        run = self._posts[name].run
        return None if run is None else run.pid

    def starts(self, name: str) -> int:
        """How often a child was started."""
        return self._posts[name].starts

    async def ready(self, name: str) -> None:
        """Wait until a child is ready (again)."""
        await self._posts[name].ready.wait()

    async def ended(self, name: str) -> None:
        """Wait until a child that is not restarted has ended."""
        await self._posts[name].over.wait()

    async def _settled(self, post: Post) -> None:
        """Wait until it is ready or over; raises for a first start that failed."""
        assert post.task is not None
        ready = asyncio.create_task(post.ready.wait())
        try:
            await asyncio.wait((ready, post.task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if post.task.done():
            post.task.result()
        if post.failure is not None:
            raise StackDidNotStartError(post.failure)

    async def _keep(self, post: Post) -> None:
        """Start it again and again until the stack stops."""
        child = post.child
        try:
            for name in child.after:
                await _either(self._posts[name].ready, post.stopping)
            pause_s = FIRST_PAUSE_S
            while not post.stopping.is_set():
                begin = time.monotonic()
                what = await post.live(lambda line: self._on_line(child.name, line))
                if post.stopping.is_set() or post.failure is not None or (child.job and post.ready.is_set()):
                    return
                if not child.restart:
                    self._on_notice(child.name, f"{child.name} {what}")
                    return
                if time.monotonic() - begin > STEADY_AFTER_S:
                    pause_s = FIRST_PAUSE_S
                self._on_notice(child.name, f"{child.name} {what}; it starts again in {pause_s:g} s")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(post.stopping.wait(), pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        finally:
            post.over.set()

    async def _take_down(self, post: Post) -> None:
        for other in self._behind(post.child.name):
            await self._posts[other].over.wait()
        post.stopping.set()
        if post.run is not None:
            post.run.ask_to_end()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(post.over.wait(), post.child.grace_s)
            return
        self._on_notice(post.child.name, f"{post.child.name} did not end within {post.child.grace_s:g} s: killed")
        if post.run is not None:
            post.run.signal(signal.SIGKILL)
        await post.over.wait()

    def _behind(self, name: str) -> set[str]:
        """The children that come after this one, also by way of others such as a job that is long over."""
        behind: set[str] = set()
        for child in self._children:
            if not {name, *behind}.isdisjoint(child.after):
                behind.add(child.name)
        return behind


async def _either(first: asyncio.Event, second: asyncio.Event) -> None:
    tasks = [asyncio.create_task(event.wait()) for event in (first, second)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _check(children: tuple[Child, ...]) -> None:
    """Names are unique, and a child stands behind those that it comes after: so there is no circle."""
    seen: set[str] = set()
    for child in children:
        if child.name in seen:
            raise ValueError(f"two children are called {child.name!r}")
        if missing := set(child.after) - seen:
            raise ValueError(f"{child.name!r} comes after {sorted(missing)}, which must stand before it in the list")
        seen.add(child.name)
