"""What the engine takes for granted of Faust, mode, aiokafka and rocksdict. When one of these fails, an upgrade changed
it: read the new code, adapt the module that is named, and run the storms (`--long`) before the pin is moved.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from faust.app.base import App
from faust.stores.rocksdb import Store as FaustRocksDBStore
from faust.streams import Stream
from faust.tables.base import Collection
from faust.tables.manager import TableManager
from faust.transport.consumer import Consumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, ConsumerRebalanceListener
from faust.transport.drivers.aiokafka import Consumer as DriverConsumer
from faust.types.tuples import Message
from mode.utils.queues import FlowControlEvent
from mode.worker import Worker as ModeWorker

import streams.engine
from streams.engine.private_names import PRIVATE_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

PINNED = {"faust-streaming": "0.15.3", "mode-streaming": "0.7.1", "aiokafka": "0.14.0", "rocksdict": "0.3.29"}

# What we override or call: the parameters without `self`, and the module that relies on it.
SIGNATURES: list[tuple[Callable[..., Any], str, str]] = [
    (Consumer._drain_messages, "fetcher", "stream_consumer.py"),
    (Consumer.commit, "topics start_new_transaction", "stream_consumer.py"),
    (Consumer.ack, "message", "stream_consumer.py"),
    (Consumer.wait_empty, "", "stream_consumer.py"),
    (Consumer.on_partitions_revoked, "revoked", "stream_consumer.py"),
    (Consumer.on_partitions_assigned, "assigned generation_id", "stream_consumer.py"),
    (Consumer.stop_flow, "", "stream_consumer.py"),
    (Consumer.resume_flow, "", "stream_consumer.py"),
    (DriverConsumer._new_consumer_thread, "", "stream_consumer.py"),
    (DriverConsumer.verify_event_path, "now tp", "stream_consumer.py"),
    (AIOKafkaConsumerThread._create_worker_consumer, "transport", "kafka_client.py"),
    (AIOKafkaConsumerThread._ensure_consumer, "", "kafka_client.py"),
    (Message.ack, "consumer n", "stream_consumer.py"),
    (App.on_rebalance_end, "", "stream_consumer.py"),
    (App._new_transport, "", "app.py"),
    (App.worker_init, "", "app.py"),
    (App.crash, "reason", "app.py"),
    (ModeWorker._schedule_shutdown, "signal", "app.py"),
    (TableManager._update_channels, "", "app.py"),
    (TableManager.on_rebalance, "assigned revoked newly_assigned generation_id", "app.py"),
    (TableManager.on_partitions_revoked, "revoked", "app.py"),
    (Collection._new_store_by_url, "url", "tables.py"),
    (Collection.on_rebalance, "assigned revoked newly_assigned generation_id", "tables.py"),
    (FaustRocksDBStore._db_for_partition, "partition", "stores.py"),
    (Fetcher.fetched_records, "partitions timeout max_records", "kafka_client.py"),
    (GroupCoordinator._send_req, "request", "kafka_client.py"),
    (AIOKafkaConnection.send, "request expect_response", "freeze_guard.py"),
    (AIOKafkaProducer.send_batch, "batch topic partition", "batch_writer.py"),
    (AIOKafkaProducer.create_batch, "", "batch_writer.py"),
]

# Lines of code on which one of our arguments rests: where, the line, and the argument.
LINES: list[tuple[object, str, str]] = [
    (Fetcher.__init__, "self._prefetch_backoff = prefetch_backoff", "kafka_client.py shortens it"),
    (
        Fetcher.fetched_records,
        "done, pending = await asyncio.wait([waiter], timeout=timeout)",
        "a fetch can be cancelled only where it holds no records",
    ),
    (
        GroupCoordinator._do_commit_offsets,
        "self.generation,",
        "a commit is bound to the generation in which its request was made",
    ),
    (
        ConsumerRebalanceListener.on_partitions_assigned,
        "self._thread.app.consumer_generation_id = generation",
        "messages carry the generation of their epoch",
    ),
    (FlowControlEvent.resume, "self.clear()", "so nothing may be delivered before"),
    (GroupCoordinator._do_heartbeat, "await self._send_req(request)", "heartbeats pass where contact is noted"),
    (
        Fetcher._proc_fetch_request,
        "if not tp_state.has_valid_position or tp_state.position != fetch_offset:",
        "an answer for a position that has changed is discarded, so what arrives is true of the present one",
    ),
    (Fetcher.seek_to, "del self._records[tp]", "nothing that was fetched before a seek arrives after it"),
    (App._stop_consumer, "await self._consumer_wait_empty(consumer, self.log)", "a shutdown waits for `wait_empty`"),
    (Stream, "if event is not None and (do_ack or value is skipped_value):", "a skipped event is acknowledged"),
]


def name_of(value: object) -> str:
    return str(getattr(value, "__qualname__", value))[:60]


def advice(module: str) -> str:
    return f"streams/engine/{module} (or streams/{module}) relies on this; read the new code before moving a pin"


@pytest.mark.parametrize(("package", "pinned"), PINNED.items())
def test_the_versions_are_those_that_the_engine_was_proven_with(package: str, pinned: str) -> None:
    assert version(package) == pinned, (
        f"{package} is {version(package)}, the engine overrides internals of {pinned}: look at the other tests of this"
        " module, adapt streams/engine, run `./freshtrack test tests/faults --long`, then move the pin"
    )


@pytest.mark.parametrize(("function", "parameters", "module"), SIGNATURES, ids=name_of)
def test_what_we_override_still_has_its_parameters(function: Callable[..., Any], parameters: str, module: str) -> None:
    found = [name for name in inspect.signature(function).parameters if name != "self"]
    assert found == parameters.split(), f"{function.__qualname__} now takes {found}: {advice(module)}"


@pytest.mark.parametrize(("place", "line", "argument"), LINES, ids=name_of)
def test_the_lines_on_which_we_rest_are_still_there(place: Any, line: str, argument: str) -> None:
    source = inspect.getsource(place)
    assert line in source, f"{place.__qualname__} does not hold {line!r} any more. We rested on it: {argument}"


def test_the_message_has_what_faust_marks() -> None:
    assert {"acked", "refcount", "generation_id"} <= set(Message.__slots__)


@pytest.mark.parametrize("name", PRIVATE_NAMES)
def test_every_private_name_that_is_used_still_exists(name: str) -> None:
    module, _, path = name.partition(":")
    holder, _, attribute = path.partition(".")
    found = getattr(importlib.import_module(module), holder)
    assert re.search(rf"\b{attribute}\b", inspect.getsource(found)), f"{name} is gone: {PRIVATE_NAMES[name]}"


def test_no_private_name_is_used_that_is_not_listed() -> None:
    listed = {name.rpartition(".")[2] for name in PRIVATE_NAMES} | {"_exit", "_replace"}  # of `os` and of named tuples
    for path in sorted(Path(streams.engine.__file__).parent.glob("*.py")):
        assert _foreign_names(ast.parse(path.read_text(encoding="utf-8"))) <= listed, path.name


def _foreign_names(tree: ast.Module) -> set[str]:
    """Private attributes that a module uses and does not define."""
    nodes = list(ast.walk(tree))
    own = {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    own |= {node.target.id for node in nodes if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    own |= {node.attr for node in attributes if isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"}
    used = {node.attr for node in attributes if node.attr.startswith("_") and not node.attr.startswith("__")}
    return used - own
