"""A Faust app with our consumer, our tables, and the settings that they need."""

from __future__ import annotations

import gc
import logging
from typing import TYPE_CHECKING, Any

import faust
import structlog
from faust.tables import TableManager
from faust.transport.drivers import aiokafka as driver

from streams.engine import deadline, freeze_guard
from streams.engine.recent_failures import RecentFailures
from streams.engine.stream_consumer import StreamConsumer
from streams.engine.tables import BulkTable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from signal import Signals

    from faust.types import TP

    from schemas.topic import AnyTopic
    from streams.engine.settings import WorkerSettings

log = structlog.get_logger(__name__)

MIB = 1 << 20
# Objects that a batch makes and drops; Python's 700 would look through all states at every batch.
GC_THRESHOLDS = (50_000, 20, 100)


class NoMonitor(faust.Monitor):  # type: ignore[misc]
    """Faust's own statistics cost a tenth of the throughput and are shown nowhere; our metrics are in the flows."""

    def _nothing(self, *_: object, **__: object) -> None:
        pass

    on_message_in = on_message_out = on_stream_event_in = on_stream_event_out = _nothing
    on_send_initiated = on_send_completed = on_send_error = on_topic_buffer_full = _nothing
    on_table_get = on_table_set = on_table_del = on_tp_commit = track_tp_end_offset = _nothing


class StreamTransport(driver.Transport):  # type: ignore[misc]
    """Faust's aiokafka transport with our consumer."""

    Consumer = StreamConsumer


class StreamTables(TableManager):  # type: ignore[misc]
    """Declares tables and opens their stores; Faust's own recovery can hang for ever, ours is in `recovery.py`."""

    async def on_start(self) -> None:
        # Faust waits a second for tables that are declared late; ours are all there when the app is built.
        await self._update_channels()

    def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Faust would flush the buffers of its recovery."""

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        for table in self.values():
            await table.on_rebalance(assigned, revoked, newly_assigned, generation_id)


class StreamWorker(faust.Worker):  # type: ignore[misc]
    """Faust's worker, of which nothing is left when the time to drain is over."""

    def _schedule_shutdown(self, signal: Signals) -> None:
        deadline.arm(self.app.worker_settings.drain_limit_s, f"{signal.name}")
        super()._schedule_shutdown(signal)


class StreamApp(faust.App):  # type: ignore[misc]
    """What `create_app` makes."""

    worker_settings: WorkerSettings
    batch_sizes: Mapping[str, int]
    failures: RecentFailures
    applied_offset_of: Callable[[bytes], int] | None
    _in_worker = False

    @property
    def send_limit_s(self) -> float:
        return self.worker_settings.send_limit_s

    def _new_transport(self) -> StreamTransport:
        return StreamTransport(self.conf.broker_consumer, self)

    def worker_init(self) -> None:
        """Called once when this process is going to be the app's worker."""
        super().worker_init()
        self._in_worker = True
        self.worker_settings.data_dir.mkdir(parents=True, exist_ok=True)
        freeze_guard.install(self.worker_settings.freeze_limit_s)
        tune_garbage_collection()
        for name in ("aiokafka", "aiokafka.consumer.fetcher", "aiokafka.conn"):
            logging.getLogger(name).setLevel(logging.WARNING)

    async def crash(self, reason: BaseException) -> None:
        """Something went wrong that only a new process may go on from."""
        if self._in_worker:
            deadline.arm(self.worker_settings.drain_limit_s, repr(reason))
        await super().crash(reason)


def create_app(
    name: str,
    settings: WorkerSettings,
    *,
    batched: Collection[AnyTopic],
    applied_offset_of: Callable[[bytes], int] | None,
) -> StreamApp:
    """An app of the consumer group `name` (with the topic prefix in front of it).

    The records of `batched` topics come in runs of `max_batch`, all others one by one. `applied_offset_of` reads the
    applied offset of a stored value of any table; None where the newest record counts. Choose uvloop
    (`mode.loop.use("uvloop")`) before this module is imported.
    """
    app = StreamApp(settings.topic(name), **_faust_settings(settings))
    app.worker_settings = settings
    app.batch_sizes = dict.fromkeys((settings.topic(topic.name) for topic in batched), settings.max_batch)
    app.failures = RecentFailures(settings.data_dir / "failures.json", settings.quarantine_limit)
    app.applied_offset_of = applied_offset_of
    return app


def _faust_settings(settings: WorkerSettings) -> dict[str, Any]:
    return {
        "broker": [f"kafka://{server.strip()}" for server in settings.bootstrap_servers.split(",")],
        "broker_credentials": settings.faust_credentials(),
        "store": f"{settings.store}://",
        "datadir": str(settings.data_dir),
        "Table": BulkTable,
        "TableManager": StreamTables,
        "Worker": StreamWorker,
        "Monitor": NoMonitor,
        "web_enabled": False,
        "worker_redirect_stdouts": False,
        # Topics are made from their declarations, changelogs by their tables; Faust makes none.
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "topic_replication_factor": settings.replication_factor,
        # A flow's queue never fills, so Faust's back-pressure never acts: `Delivery` gives it less than this.
        "stream_buffer_maxsize": 4_096,
        "stream_wait_empty": True,
        "stream_recovery_delay": 0.0,
        "table_standby_replicas": 0,
        "broker_session_timeout": settings.session_timeout_s,
        "broker_rebalance_timeout": settings.session_timeout_s * 1.5,
        "broker_heartbeat_interval": min(1.0, settings.session_timeout_s / 4),
        "broker_request_timeout": max(30.0, settings.session_timeout_s),
        # A main loop that stands still for so long has lost its partitions, heartbeats or not.
        "broker_max_poll_interval": 300.0,
        "broker_commit_interval": settings.commit_interval_s,
        "broker_commit_every": None,
        "consumer_max_fetch_size": 4 * MIB,
        "producer_acks": -1,
        # Changelogs go as whole batches, and a flow waits for what it publishes: lingering would only add to that.
        "producer_linger": 0,
        "producer_max_batch_size": MIB,
        "producer_max_request_size": 4 * MIB,
        "producer_request_timeout": settings.send_limit_s,
        "producer_threaded": False,
    }


def tune_garbage_collection() -> None:
    """What is loaded now stays for good: the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
