"""Child processes that never outlive this one."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_GUARDIAN = Path(__file__).with_name("guardian.py")


class _Guard:
    """This process's end of the pipe to its guardian."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._guarded: dict[int, int] = {}

    def guard(self, pid: int, ending: signal.Signals) -> None:
        with self._lock:
            if self._owner != os.getpid():  # a fork: what the original started is not ours to end
                self._owner, self._process, self._guarded = os.getpid(), None, {}
            self._guarded[pid] = ending
            self._tell(f"guard {pid} {int(ending)}\n")

    def release(self, pid: int) -> None:
        with self._lock:
            if self._owner != os.getpid() or self._guarded.pop(pid, None) is None:
                return
            self._tell(f"release {pid}\n")
            if not self._guarded:
                self._close()

    def close(self) -> None:
        with self._lock:
            if self._owner == os.getpid():
                self._close()

    def _close(self) -> None:
        """Close the pipe: the guardian ends what it still guards, then itself."""
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def _tell(self, line: str) -> None:
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(BrokenPipeError):
                self._write(line)
                return
        self._close()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARDIAN), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._write("".join(f"guard {pid} {int(ending)}\n" for pid, ending in self._guarded.items()))

    def _write(self, lines: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(lines.encode())
        self._process.stdin.flush()


_GUARD = _Guard()
atexit.register(_GUARD.close)


def guard(pid: int, ending: signal.Signals = signal.SIGTERM) -> None:
    """From now on the process group `pid` ends with this process, even if this one is killed.

    It gets the signal `ending` then, and `kill -9` after five seconds. `pid` must lead its group
    (`start_new_session=True`).
    """
    _GUARD.guard(pid, ending)


def release(pid: int) -> None:
    """The process has ended: its id may soon be another's."""
    _GUARD.release(pid)


class OwnedProcess:
    """A child process with its output in a file, in a process group of its own, that ends with this process."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
        user: int | None = None,
        ending: signal.Signals = signal.SIGTERM,
    ) -> None:
        self._ending = ending
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env=env,
                cwd=folder,
                user=user,
                group=user,
                extra_groups=None if user is None else (),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._guarded = True
        guard(self.pid, ending)

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        code = self._process.poll()
        if code is not None and self._guarded:
            self._guarded = False
            release(self.pid)
        return code

    def last_lines(self, count: int = 12) -> str:
        """The end of its output, for an error message."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-count:])

    def stop(self, grace_s: float) -> int:
        """End it in good order, by `kill -9` after `grace_s`; returns the exit code."""
        if self.ended() is None:
            self._process.send_signal(self._ending)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_s)
        return self.kill()

    def kill(self) -> int:
        """`kill -9`, with everything that it started in its group; returns the exit code."""
        if self._process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        code = self.ended()
        assert code is not None
        return code
