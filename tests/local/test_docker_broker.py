"""With a Docker engine, the tests' broker is a container: shown with an engine that runs the same Kafka without one."""

from __future__ import annotations

import json
import re
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import AdminClient

from local.kafka import EmbeddedKafka
from tests.docker_broker import IMAGE, PORT, contained_broker, docker_answers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.broker

CONTAINER = "c0ffee" * 10 + "0000"


class Engine(ThreadingHTTPServer):
    """Docker's HTTP API as far as a container's life needs it; to start the container is to start a broker."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.created: dict[str, Any] = {}
        self.calls: list[str] = []
        self.broker: EmbeddedKafka | None = None
        self.has_image = True

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.server_port}"

    def start_container(self) -> None:
        binding = self.created["HostConfig"]["PortBindings"][f"{PORT}/tcp"][0]
        self.broker = EmbeddedKafka(self.folder, port=int(binding["HostPort"])).start()

    def remove_container(self) -> None:
        if self.broker is not None:
            self.broker.stop()


class _Handler(BaseHTTPRequestHandler):
    server: Engine

    def log_message(self, *_: object) -> None:
        """Nothing: the test says what matters."""

    def _answer(self, status: int, body: object = None) -> None:
        raw = body.encode() if isinstance(body, str) else b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"null")
        path = re.sub(r"^/v[0-9.]+", "", self.path.split("?")[0])
        call = f"{self.command} {path}"
        self.server.calls.append(call)
        match call:
            case "GET /_ping":
                self._answer(200, "OK")
            case "GET /version":
                self._answer(200, {"ApiVersion": "1.44", "Version": "28.2.2"})
            case _ if call == f"GET /images/{IMAGE}/json" and self.server.has_image:
                self._answer(200, {"Id": "sha256:" + CONTAINER, "RepoTags": [IMAGE]})
            case "POST /containers/create":
                self.server.created = body
                self._answer(201, {"Id": CONTAINER, "Warnings": []})
            case _ if call == f"GET /containers/{CONTAINER}/json":
                self._answer(200, {"Id": CONTAINER, "Name": "/broker", "State": {"Status": "running"}, "Config": {}})
            case _ if call == f"POST /containers/{CONTAINER}/start":
                self.server.start_container()
                self._answer(204)
            case _ if call == f"DELETE /containers/{CONTAINER}":
                self.server.remove_container()
                self._answer(204)
            case _:
                self._answer(404, {"message": f"no such thing: {call}"})

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - the names that the server looks for


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    with Engine(tmp_path) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("DOCKER_HOST", running.url)
        yield running
        running.shutdown()
        thread.join()


def test_with_an_engine_the_broker_is_the_container_of_the_compose_file(engine: Engine) -> None:
    assert docker_answers()
    with ExitStack() as stack:
        bootstrap = contained_broker(stack)
        assert bootstrap is not None, engine.calls
        assert AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=10).brokers

        assert engine.created["Image"] == IMAGE
        assert f"KAFKA_ADVERTISED_LISTENERS=HOST://{bootstrap},INTERNAL://localhost:19092" in engine.created["Env"]
    assert engine.calls[-1] == f"DELETE /containers/{CONTAINER}"


def test_an_engine_that_cannot_get_the_image_is_passed_over(engine: Engine) -> None:
    engine.has_image = False
    with ExitStack() as stack:
        assert contained_broker(stack) is None
