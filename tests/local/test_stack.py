"""The supervisor: order, restarts, a stop in good order, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local.child import Child, listens, says
from local.ports import free_port
from local.stack import Stack, StackDidNotStartError
from tests.local.liveness import is_alive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Eventually

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.anyio

FOR_EVER = "import time\nprint('up', flush=True)\ntime.sleep(600)"
TELLS = (
    "import signal, sys, time\n"
    "def end(*_):\n    time.sleep(0.1)\n    print('down', flush=True)\n    sys.exit()\n"
    "signal.signal(signal.SIGTERM, end)\nprint('up', flush=True)\ntime.sleep(600)"
)
STUBBORN = (
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(600)"
)


def child(name: str, program: str = FOR_EVER, **settings: Any) -> Child:
    settings.setdefault("ready", says("^up"))
    return Child(name=name, argv=[sys.executable, "-c", program], **settings)


class Watched:
    """Stacks that are stopped after the test, with what they told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.notices: list[str] = []
        self.stacks: list[Stack] = []

    def __call__(self, *children: Child) -> Stack:
        stack = Stack(
            children,
            on_line=lambda name, line: self.lines.append((name, line)),
            on_notice=lambda _, sentence: self.notices.append(sentence),
        )
        self.stacks.append(stack)
        return stack


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    it = Watched()
    yield it
    for stack in it.stacks:
        stack.kill()
        await stack.stop()


async def test_children_start_after_those_they_need_and_their_lines_come_with_their_names(watched: Watched) -> None:
    stack = watched(child("broker"), child("worker", after=("broker",)))
    await stack.start()
    assert watched.lines.index(("broker", "up")) < watched.lines.index(("worker", "up"))


async def test_a_stop_ends_the_last_first_and_leaves_nothing(watched: Watched) -> None:
    stack = watched(child("first", TELLS), child("second", TELLS, after=("first",)))
    await stack.start()
    pids = [stack.pid("first"), stack.pid("second")]

    await stack.stop()

    assert [name for name, line in watched.lines if line == "down"] == ["second", "first"]
    assert not any(is_alive(pid) for pid in pids if pid is not None)
    assert watched.notices == []


async def test_what_outlives_its_grace_time_is_killed_and_that_is_told(watched: Watched) -> None:
    stack = watched(child("stubborn", STUBBORN, grace_s=0.3))
    await stack.start()
    begin = time.monotonic()
    await stack.stop()
    assert 0.3 <= time.monotonic() - begin < 3
    assert watched.notices == ["stubborn did not end within 0.3 s: killed"]


async def test_a_frozen_child_is_ended_too(watched: Watched) -> None:
    stack = watched(child("frozen"))
    await stack.start()
    pid = stack.pid("frozen")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await stack.stop()
    assert not is_alive(pid)


async def test_a_child_that_dies_starts_again_and_one_line_tells_it(watched: Watched, eventually: Eventually) -> None:
    stack = watched(child("worker"))
    await stack.start()
    first = stack.pid("worker")
    assert first is not None

    os.kill(first, signal.SIGKILL)

    await eventually.awaited(lambda: stack.pid("worker") not in {first, None})
    await asyncio.wait_for(stack.ready("worker"), 5)
    assert watched.notices == ["worker was ended by SIGKILL; it starts again in 0.5 s"]
    assert stack.starts("worker") == 2


async def test_pauses_between_restarts_grow(watched: Watched, tmp_path: Path, eventually: Eventually) -> None:
    once = tmp_path / "once"
    program = (
        f"import pathlib, sys, time\np = pathlib.Path({str(once)!r})\nif p.exists(): sys.exit(3)\n"
        "p.touch()\nprint('up', flush=True)\ntime.sleep(0.05)"
    )
    stack = watched(child("crashing", program))
    await stack.start()
    await eventually.awaited(lambda: len(watched.notices) == 3)
    assert watched.notices == [
        "crashing ended with exit code 0; it starts again in 0.5 s",
        "crashing ended with exit code 3; it starts again in 1 s",
        "crashing ended with exit code 3; it starts again in 2 s",
    ]


async def test_a_child_that_never_gets_ready_fails_the_start_with_its_last_lines(watched: Watched) -> None:
    stack = watched(child("other"), child("late", ready=says("hot"), ready_within_s=0.3))
    with pytest.raises(StackDidNotStartError, match=r"(?s)late was not ready within 0\.3 s at its first start.*up"):
        await stack.start()
    assert stack.pid("other") is None


async def test_a_child_that_ends_at_once_fails_the_start_and_takes_the_others_down(watched: Watched) -> None:
    stack = watched(child("other"), child("broken", "print('no such table'); raise SystemExit(7)"))
    with pytest.raises(StackDidNotStartError, match=r"(?s)broken ended with exit code 7 .*no such table"):
        await stack.start()
    assert stack.pid("other") is None


async def test_a_command_that_does_not_exist_fails_the_start(watched: Watched) -> None:
    stack = watched(Child(name="ghost", argv=["/does/not/exist"]))
    with pytest.raises(StackDidNotStartError, match=r"ghost could not be started: .*No such file"):
        await stack.start()


async def test_a_job_is_over_before_what_comes_after_it_and_runs_once(watched: Watched) -> None:
    stack = watched(
        child("topics", "print('made')", job=True),
        child("worker", after=("topics",)),
    )
    await stack.start()
    assert watched.lines == [("topics", "made"), ("worker", "up")]
    assert stack.starts("topics") == 1


async def test_a_stop_keeps_the_order_across_a_job_that_is_long_over(watched: Watched) -> None:
    job = child("topics", "print('made')", job=True, after=("broker",))
    stack = watched(child("broker", TELLS), job, child("worker", TELLS, after=("topics",)))
    await stack.start()
    await stack.stop()
    assert [name for name, line in watched.lines if line == "down"] == ["worker", "broker"]


async def test_a_job_that_fails_fails_the_start(watched: Watched) -> None:
    stack = watched(child("topics", "raise SystemExit(2)", job=True), child("worker", after=("topics",)))
    with pytest.raises(StackDidNotStartError, match="topics ended with exit code 2"):
        await stack.start()
    assert stack.starts("worker") == 0


async def test_what_a_child_started_ends_with_it(watched: Watched, eventually: Eventually) -> None:
    program = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print('up', p.pid, flush=True)\ntime.sleep(600)"
    )
    stack = watched(child("parent", program))
    await stack.start()
    grandchild = int(watched.lines[0][1].split()[1])
    assert is_alive(grandchild)
    await stack.stop()
    await eventually.awaited(lambda: not is_alive(grandchild))


async def test_a_very_long_line_and_bytes_that_are_no_text_stop_nothing(
    watched: Watched, eventually: Eventually
) -> None:
    program = (
        "import sys, time\nprint('up', flush=True)\n"
        "sys.stdout.buffer.write(b'x' * 300_000 + b'\\n' + b'\\xff\\n')\nsys.stdout.flush()\n"
        "print('end', flush=True)\ntime.sleep(600)"
    )
    stack = watched(child("noisy", program))
    await stack.start()
    await eventually.awaited(lambda: watched.lines[-1:] == [("noisy", "end")])
    assert sum(line.count("x") for _, line in watched.lines) == 300_000
    assert watched.lines[-2] == ("noisy", "\ufffd")


async def test_ready_can_mean_that_a_port_is_open(watched: Watched) -> None:
    port = free_port()
    program = (
        "from http.server import HTTPServer, BaseHTTPRequestHandler\n"
        f"HTTPServer(('127.0.0.1', {port}), BaseHTTPRequestHandler).serve_forever()"
    )
    stack = watched(child("web", program, ready=listens(port)))
    await stack.start()
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_ctrl_c_and_sigterm_end_the_wait(watched: Watched, number: signal.Signals) -> None:
    stack = watched(child("worker"))
    await stack.start()
    asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), number)
    assert await asyncio.wait_for(stack.run_until(asyncio.Event()), 5) is False


async def test_the_wait_ends_when_the_work_is_done(watched: Watched) -> None:
    stack = watched(child("worker"))
    await stack.start()
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, done.set)
    assert await asyncio.wait_for(stack.run_until(done), 5) is True


async def test_a_second_ctrl_c_kills_what_takes_its_time(watched: Watched) -> None:
    stack = watched(child("stubborn", STUBBORN, grace_s=60))
    await stack.start()
    loop = asyncio.get_running_loop()
    loop.call_later(0.01, os.kill, os.getpid(), signal.SIGINT)
    await stack.run_until()
    loop.call_later(0.05, os.kill, os.getpid(), signal.SIGINT)
    await asyncio.wait_for(stack.stop(), 5)


@pytest.mark.parametrize(
    ("children", "message"),
    [
        ([child("a"), child("a")], "two children are called 'a'"),
        ([child("a", after=("b",)), child("b")], "'a' comes after"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(children: list[Child], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Stack(children)


def test_no_child_survives_a_supervisor_that_is_killed(eventually: Eventually) -> None:
    program = f"""
import asyncio, sys
from local.child import Child, says
from local.stack import Stack
async def main():
    children = [
        Child(name="kind", argv=[sys.executable, "-c", {FOR_EVER!r}], ready=says("up")),
        Child(name="stubborn", argv=[sys.executable, "-c", {STUBBORN!r}], ready=says("up")),
    ]
    stack = Stack(children)
    await stack.start()
    print(stack.pid("kind"), stack.pid("stubborn"), flush=True)
    await stack.run_until()
asyncio.run(main())
"""
    supervisor = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with supervisor:
        assert supervisor.stdout is not None
        pids = [int(word) for word in supervisor.stdout.readline().split()]
        assert all(is_alive(pid) for pid in pids)
        supervisor.kill()
    eventually(lambda: not any(is_alive(pid) for pid in pids), within_s=10, what="all children are gone")
