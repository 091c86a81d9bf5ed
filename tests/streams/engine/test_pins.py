"""What the engine takes for granted of Faust, mode, aiokafka and rocksdict. When one of these fails, an upgrade changed
it: read the new code, adapt the module that is named, and run the storms (`--long`) before the pin is moved.
"""

from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from faust.app.base import App
from faust.stores.memory import Store as FaustMemoryStore
from faust.stores.rocksdb import Store as FaustRocksDBStore
from faust.streams import Stream
from faust.tables.base import Collection
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport.consumer import Consumer, ThreadDelegateConsumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, ConsumerRebalanceListener
from faust.transport.drivers.aiokafka import Consumer as DriverConsumer
from faust.types.tuples import Message
from mode.utils.queues import FlowControlEvent
from mode.worker import Worker as ModeWorker

if TYPE_CHECKING:
    from collections.abc import Callable

PINNED = {"faust-streaming": "0.15.3", "mode-streaming": "0.7.1", "aiokafka": "0.14.0", "rocksdict": "0.3.29"}

# What we override or call: the parameters without `self`, and the module that relies on it.
SIGNATURES: list[tuple[Callable[..., Any], str, str]] = [
    (Consumer._drain_messages, "fetcher", "delivery.py"),
    (Consumer._get_active_partitions, "", "delivery.py"),
    (Consumer.perform_seek, "", "placement.py"),
    (Consumer.seek, "partition offset", "placement.py"),
    (ThreadDelegateConsumer.seek_wait, "partitions", "placement.py"),
    (Consumer.force_commit, "topics start_new_transaction", "committing.py"),
    (Consumer.maybe_wait_for_commit_to_finish, "", "committing.py"),
    (Consumer.ack, "message", "committing.py"),
    (Consumer.wait_empty, "", "committing.py"),
    (Consumer.on_partitions_revoked, "revoked", "committing.py"),
    (Consumer.on_partitions_assigned, "assigned generation_id", "membership.py"),
    (Consumer.stop_flow, "", "membership.py"),
    (Consumer.resume_flow, "", "membership.py"),
    (Consumer.resume_partitions, "tps", "membership.py"),
    (Consumer.on_buffer_full, "tp", "membership.py"),
    (DriverConsumer._new_consumer_thread, "", "membership.py"),
    (DriverConsumer._to_message, "tp record", "delivery.py"),
    (DriverConsumer.verify_event_path, "now tp", "membership.py"),
    (AIOKafkaConsumerThread._create_worker_consumer, "transport", "consumer_thread.py"),
    (AIOKafkaConsumerThread._ensure_consumer, "", "consumer_thread.py"),
    (Message.ack, "consumer n", "committing.py"),
    (App._new_transport, "", "app.py"),
    (App.worker_init, "", "app.py"),
    (App.crash, "reason", "app.py"),
    (ModeWorker._schedule_shutdown, "signal", "app.py"),
    (TableManager._update_channels, "", "app.py"),
    (Collection._new_store_by_url, "url", "tables.py"),
    (Collection.apply_changelog_batch, "batch", "tables.py"),
    (Collection.on_rebalance, "assigned revoked newly_assigned generation_id", "tables.py"),
    (FaustMemoryStore.persisted_offset, "tp", "stores.py"),
    (FaustRocksDBStore._db_for_partition, "partition", "stores.py"),
    (Fetcher.fetched_records, "partitions timeout max_records", "consumer_thread.py"),
    (GroupCoordinator._do_heartbeat, "", "consumer_thread.py"),
    (AIOKafkaConnection.send, "request expect_response", "freeze_guard.py"),
    (AIOKafkaProducer.send_batch, "batch topic partition", "changelog.py"),
    (AIOKafkaProducer.create_batch, "", "changelog.py"),
]

# Lines of code on which an argument of ours rests: where, the line, and the argument.
LINES: list[tuple[object, str, str]] = [
    (Fetcher.__init__, "self._prefetch_backoff = prefetch_backoff", "consumer_thread.py shortens it"),
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
    (
        Recovery.on_recovery_completed,
        "self.app.flow_control.resume()\n        consumer.resume_flow()",
        "queues are cleared before `resume_flow`, which is where delivery begins",
    ),
    (FlowControlEvent.resume, "self.clear()", "so nothing may be delivered before"),
    (
        Recovery,
        "consumer.resume_partitions)(active_tps)",
        "changelogs are fetched only while recovery wants them",
    ),
    (App._on_partitions_revoked, "consumer.stop_flow", "a revocation stops the flow"),
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


def test_the_message_has_what_the_commit_log_marks() -> None:
    assert {"acked", "refcount", "generation_id"} <= set(Message.__slots__)


def test_recovery_has_the_books_that_we_keep_for_it() -> None:
    source = inspect.getsource(Recovery.__init__)
    for name in ("active_tps", "active_offsets", "tp_to_table", "_active_events_received_at"):
        assert f"self.{name} = " in source, f"Recovery has no {name} any more: {advice('delivery.py')}"
