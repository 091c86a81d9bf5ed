"""The fake Telnyx as a child process, with its control API as methods."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import httpx
import msgspec

from local.ports import LOOPBACK, free_port
from local.processes import OwnedProcess
from local.telnyx.behaviour import Behaviour, Orders
from local.telnyx.records import Counts, Log

if TYPE_CHECKING:
    from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]


class TelnyxDidNotStartError(RuntimeError):
    """The fake ended or gave no answer in time; the message holds its last words."""


class TelnyxControl:
    """Orders and audits a fake that runs at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def log(self, since: int = 0) -> Log:
        """Everything since the last reset; arrivals from sequence number `since` on."""
        return msgspec.json.decode(self._call("GET", f"/control/log?since={since}"), type=Log)

    def counts(self) -> Counts:
        return msgspec.json.decode(self._call("GET", "/control/counts"), type=Counts)

    def behave(self, *behaviours: Behaviour, number: str | None = None) -> None:
        """Meet the next messages with these in turn; none at all: well again."""
        self._call("POST", "/control/behaviour", msgspec.json.encode(Orders(number=number, behaviours=[*behaviours])))

    def answer_sms(self, sender: str, text: str, *, to: str = "", webhook_url: str = "") -> str:
        """The person at `sender` sends an SMS to our number; returns the webhook's event id."""
        body = {"from": sender, "text": text, "to": to, "webhook_url": webhook_url}
        answer = msgspec.json.decode(self._call("POST", "/control/inbound", msgspec.json.encode(body)))
        return str(answer["event_id"])

    @property
    def public_key(self) -> str:
        """Base64; what a webhook's signature is checked with."""
        return str(msgspec.json.decode(self._call("GET", "/control/public-key"))["public_key"])

    def reset(self) -> None:
        """No orders, no log, nothing on its way."""
        self._call("POST", "/control/reset")

    def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        answer = self._http.request(method, path, content=body)
        if not answer.is_success:
            raise ValueError(f"the fake Telnyx refused {method} {path}: {answer.text}")
        return answer.content


class TelnyxProcess(TelnyxControl):
    """A fake in a process of its own, with its output in `folder/telnyx.log`."""

    def __init__(self, folder: Path, *, api_key: str = "fake-telnyx-key", port: int | None = None) -> None:
        self.api_key = api_key
        self._port = port or free_port()
        self._log_file = folder / "telnyx.log"
        self._process: OwnedProcess | None = None
        super().__init__(f"http://{LOOPBACK}:{self._port}")

    def start(self, timeout_s: float = 15) -> Self:
        """Start it and wait until it answers. Raises TelnyxDidNotStartError."""
        deadline = time.monotonic() + timeout_s
        command = [sys.executable, "-m", "local.telnyx", "--port", str(self._port), "--api-key", self.api_key]
        self._process = OwnedProcess(command, log=self._log_file, folder=ROOT)
        while (code := self._process.ended()) is None:
            try:
                self.counts()
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.01)
            else:
                return self
        words = self._process.last_lines()
        self._process.kill()
        raise TelnyxDidNotStartError(f"the fake Telnyx is not up (exit code {code}); {self._log_file} ends:\n{words}")

    def stop(self, grace_s: float = 5) -> None:
        if self._process is not None:
            self._process.stop(grace_s)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        self.close()
