"""Ends the processes of a parent that died without ending them itself, even by `kill -9`.

Run as a process of its own by `local.processes`. Its standard input is a pipe whose only other end the parent holds:
when the parent dies, by whatever cause, the system closes that end. (Linux could signal the children by itself,
but does so when the *thread* that started them ends, and macOS cannot.) Lines say what to watch:

    guard PID SIGNAL     a process group, and the signal that ends it in good order
    release PID          it has ended

Only the standard library, and nothing of this project, so that it starts within a few milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time

GRACE_S = 5.0


def main() -> None:
    """Follow the pipe until it closes, then end what is left."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    parent = int(sys.argv[1])
    groups: dict[int, int] = {}
    pending = b""
    while True:
        if not select.select([0], [], [], 1.0)[0]:
            # A copy of the parent made by fork keeps the pipe open. Looked at only when everything was read: the
            # parent may have died before this process, still starting, had read its first line.
            if os.getppid() != parent:
                break
            continue
        received = os.read(0, 4096)
        if not received:
            break
        *lines, pending = (pending + received).split(b"\n")
        for line in lines:
            word, pid, *rest = line.split()
            if word == b"guard":
                groups[int(pid)] = int(rest[0])
            else:
                groups.pop(int(pid), None)
    _end(groups)


def _end(groups: dict[int, int]) -> None:
    for pid, number in groups.items():
        _send(pid, number)
        _send(pid, signal.SIGCONT)
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline and any(_send(pid, 0) for pid in groups):
        time.sleep(0.02)
    for pid in groups:
        _send(pid, signal.SIGKILL)


def _send(group: int, number: int) -> bool:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        return True
    return False


if __name__ == "__main__":
    main()
