"""What every test may ask for: a real broker, a real database, a fake SMS provider, and waiting without sleeping."""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

import pytest

from local.guest import temporary_folder
from local.kafka import EmbeddedKafka
from local.postgres import EmbeddedPostgres
from local.telnyx.client import TelnyxProcess

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

pytest_plugins = ["tests.databases", "tests.api_world"]

T = TypeVar("T")


class Kafka(NamedTuple):
    """The session's broker; `embedded` is there when a test may stop, kill and restart it."""

    bootstrap: str
    embedded: EmbeddedKafka | None = None


class Postgres(NamedTuple):
    """The session's database server; `embedded` is there when a test may stop, kill and restart it."""

    url: str
    embedded: EmbeddedPostgres | None = None


class Eventually:
    """Waits for a condition with a deadline, so that no test sleeps and hopes.

    Both ways return the condition's first truthy value, and fail the test when the deadline passes.
    """

    def __call__(self, condition: Callable[[], T], *, within_s: float = 10, every_s: float = 0.01, what: str = "") -> T:
        """For tests without an event loop."""
        deadline = time.monotonic() + within_s
        while not (value := condition()):
            self._give_up_after(deadline, within_s, what, value)
            time.sleep(every_s)
        return value

    @overload
    async def awaited(
        self, condition: Callable[[], Awaitable[T]], *, within_s: float = 10, every_s: float = 0.01, what: str = ""
    ) -> T: ...

    @overload
    async def awaited(
        self, condition: Callable[[], T], *, within_s: float = 10, every_s: float = 0.01, what: str = ""
    ) -> T: ...

    async def awaited(
        self, condition: Callable[[], Any], *, within_s: float = 10, every_s: float = 0.01, what: str = ""
    ) -> Any:
        """For async tests; the condition may be async too."""
        deadline = time.monotonic() + within_s
        while True:
            value = condition()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            self._give_up_after(deadline, within_s, what, value)
            await asyncio.sleep(every_s)

    @staticmethod
    def _give_up_after(deadline: float, within_s: float, what: str, value: object) -> None:
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within_s} s: {what or 'the condition'} (last value: {value!r})")


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    return Eventually()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """`@pytest.mark.anyio` runs async tests on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker for the whole session: the one that is given, else a container, else the embedded one."""
    # Docker's client is slow to import, and few tests want a broker.
    from tests.docker_broker import contained_broker

    with ExitStack() as stack:
        if given := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
            yield Kafka(given)
        elif (bootstrap := contained_broker(stack)) is not None:
            yield Kafka(bootstrap)
        else:
            broker = stack.enter_context(EmbeddedKafka(tmp_path_factory.mktemp("kafka")))
            yield Kafka(broker.bootstrap, broker)


@pytest.fixture(scope="session")
def database_folder() -> Iterator[Path]:
    """A folder that a database server may reach that runs as another user, because these tests run as root.

    Not in pytest's: each session that starts locks those above its own for everybody else.
    """
    with temporary_folder("freshtrack-") as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres(database_folder: Path) -> Iterator[Postgres]:
    """A database server for the whole session: `DATABASE_URL` when that is set, else the embedded one."""
    if given := os.environ.get("DATABASE_URL"):
        yield Postgres(given)
    else:
        # What these databases hold is worth nothing after the session: no waiting for the disk.
        quick = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
        with EmbeddedPostgres(database_folder / "session", extra=quick) as server:
            yield Postgres(server.url, server)


@pytest.fixture(scope="session")
def telnyx_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TelnyxProcess]:
    with TelnyxProcess(tmp_path_factory.mktemp("telnyx")) as running:
        yield running


@pytest.fixture
def telnyx(telnyx_process: TelnyxProcess) -> Iterator[TelnyxProcess]:
    """A fake Telnyx on a free port, well-behaved and with an empty log: `.url`, `.api_key`, `.log()`, `.behave(...)`.

    It runs in a process of its own, so that the arrival times in its log do not depend on what the test does.
    """
    telnyx_process.reset()
    yield telnyx_process
    telnyx_process.reset()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also the long forms, which take many minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
