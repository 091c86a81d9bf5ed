"""The mailbox as a child process, and the mails it received as structs."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import httpx
import msgspec

from local.child import Child, answers_http
from local.mailbox.received import Received, html_of, parse, text_of
from local.ports import LOOPBACK, free_port
from local.processes import OwnedProcess

if TYPE_CHECKING:
    from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]


class MailboxDidNotStartError(RuntimeError):
    """The mailbox ended or did not answer in time; the message has the end of its output."""


def command(smtp_port: int, port: int) -> list[str]:
    return [sys.executable, "-m", "local.mailbox", "--smtp-port", str(smtp_port), "--port", str(port)]


def mailbox_child(smtp_port: int, port: int, name: str = "mailbox") -> Child:
    """SMTP on 127.0.0.1:`smtp_port` (`MAIL_SMTP_SECURITY=none`), its pages at http://127.0.0.1:`port`/."""
    ready = answers_http(f"http://{LOOPBACK}:{port}/api/mails")
    return Child(name=name, argv=command(smtp_port, port), folder=ROOT, ready=ready, grace_s=5)


def mail_environment(smtp_port: int) -> dict[str, str]:
    """The settings that make a worker send its mails here."""
    return {
        "MAIL_PROVIDER": "smtp",
        "MAIL_SMTP_HOST": LOOPBACK,
        "MAIL_SMTP_PORT": str(smtp_port),
        "MAIL_SMTP_SECURITY": "none",
    }


class MailboxProcess:
    """A mailbox in a process of its own, with its output in `folder/mailbox.log`."""

    def __init__(self, folder: Path) -> None:
        self.smtp_port = free_port()
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._log_file = folder / "mailbox.log"
        self._process: OwnedProcess | None = None
        self._http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    @property
    def environment(self) -> dict[str, str]:
        return mail_environment(self.smtp_port)

    def start(self, timeout_s: float = 15) -> Self:
        """Start it and wait until it answers. Raises MailboxDidNotStartError."""
        deadline = time.monotonic() + timeout_s
        self._process = OwnedProcess(command(self.smtp_port, self.port), log=self._log_file, folder=ROOT)
        while (code := self._process.ended()) is None:
            try:
                self.mails()
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.01)
            else:
                return self
        output = self._process.last_lines()
        self._process.kill()
        raise MailboxDidNotStartError(f"the mailbox is not up (exit code {code}); {self._log_file} ends:\n{output}")

    def mails(self) -> list[Received]:
        """The newest first."""
        return msgspec.json.decode(self._http.get("/api/mails").raise_for_status().content, type=list[Received])

    def html(self, number: int) -> str:
        """As a mail program shows it, pictures inside."""
        return html_of(parse(self._raw(number)))

    def text(self, number: int) -> str:
        return text_of(parse(self._raw(number)))

    def refuse(self, reply: str) -> None:
        """Answer every mail with this SMTP reply from now on; an empty one accepts mails again."""
        self._http.put("/api/refuse", content=reply.encode()).raise_for_status()

    def delay(self, seconds: float) -> None:
        """Take this long for each mail from now on."""
        self._http.put("/api/delay", content=str(seconds).encode()).raise_for_status()

    def clear(self) -> None:
        self._http.delete("/api/mails").raise_for_status()

    def _raw(self, number: int) -> bytes:
        return self._http.get(f"/mails/{number}/raw").raise_for_status().content

    def stop(self, grace_s: float = 5) -> None:
        self._http.close()
        if self._process is not None:
            self._process.stop(grace_s)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
