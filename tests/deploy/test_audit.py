"""The dependency audit: a known fault fails it, a service out of reach is said and does not."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]


def audit(osv_url: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "cli", "audit", "--osv-url", osv_url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr


@contextmanager
def osv(faulty: str) -> Iterator[str]:
    """A service that knows a fault of each version of one package."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name, version = asked["package"]["name"], asked["version"]
            affected = {
                "package": {"name": name, "ecosystem": "PyPI"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "999.1"}]}],
                "versions": [version],
            }
            fault = {
                "id": "PYSEC-2026-1",
                "aliases": ["CVE-2026-0001"],
                "details": "It fails.",
                "modified": "2026-01-01T00:00:00Z",
                "published": "2026-01-01T00:00:00Z",
                "affected": [affected],
            }
            body = json.dumps({"vulns": [fault]} if name == faulty else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query"
        finally:
            server.shutdown()
            thread.join()


def test_a_known_fault_fails_and_names_package_fault_and_way_out() -> None:
    with osv("jinja2") as url:
        code, told = audit(url)
    assert code == 1, told
    assert "jinja2" in told
    assert "PYSEC-2026-1, CVE-2026-0001; fixed in 999.1" in told
    assert "1 known faults" in told


def test_without_a_known_fault_it_says_what_was_checked() -> None:
    with osv("nothing-of-ours") as url:
        code, told = audit(url)
    assert code == 0, told
    assert "packages checked with OSV, 0 known faults" in told


def test_a_service_out_of_reach_is_said_and_fails_nothing() -> None:
    code, told = audit("http://127.0.0.1:1/v1/query")
    assert code == 0
    assert "no vulnerability service can be reached from here; nothing was checked" in told
