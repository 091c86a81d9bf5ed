"""The worker `detection`: `readings` → thresholds → `alerts`, → buckets → `unit-aggregates`; offline → `alerts`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aiokafka.partitioner import murmur2

from schemas import messages as m
from schemas import topics as t
from streams.detection.consumer_lag import ConsumerLag
from streams.detection.dead_readings import quarantine_in
from streams.detection.metrics import detection_metrics
from streams.detection.offline_to_alerts import OfflineAlerts
from streams.detection.offline_units import LOOK_EVERY_S, OfflineUnits
from streams.detection.readings_to_alerts_and_aggregates import Detection
from streams.detection.settings import DetectionSettings
from streams.detection.shared_parts import share_parts
from streams.detection.unit_buckets import BucketTable
from streams.detection.unit_rounds import UnitRounds
from streams.detection.unit_states import UnitStates
from streams.engine.app import create_app
from streams.engine.applied_offset import applied_offset_of
from streams.engine.global_table import GlobalTable, load_before_work
from streams.engine.metrics import serve_metrics
from streams.engine.stores import ROCKSDB_OPTIONS
from streams.engine.wiring import agent, now_ms, publisher, run_publisher

if TYPE_CHECKING:
    import faust


def build() -> faust.App:
    settings = DetectionSettings()
    app = create_app(
        "detection", settings, batched=[t.READINGS, t.UNIT_CONNECTIVITY], applied_offset_of=applied_offset_of
    )
    units = GlobalTable(t.UNITS, m.UnitConfig, settings, share=share_parts)
    load_before_work(app, [units])
    count = settings.partitions(t.READINGS)
    states = UnitStates(_table(app, "unit-states", count, buffer_mib=4), units)
    buckets = BucketTable(run_publisher(app), _table(app, "unit-buckets", count, buffer_mib=2), settings.policy())
    send = publisher(app)
    flow = Detection(send, states, buckets, now_ms, settings.max_age_ms)
    lag = ConsumerLag(app, settings.topic(t.READINGS.name), now_ms)
    rounds = UnitRounds(units, partial(partition_of, count), LOOK_EVERY_S)
    offline_units = OfflineUnits(send, states, buckets, rounds, lag, now_ms, flow.counts)
    groups = _table(app, "unit-groups", count, buffer_mib=1)
    offline_alerts = OfflineAlerts(send, groups, units, now_ms, flow.counts)
    set_aside = quarantine_in(send, settings.build, now_ms)
    agent(app, t.READINGS, flow.handle, set_aside=set_aside)
    agent(app, t.UNIT_CONNECTIVITY, offline_alerts.handle, set_aside=set_aside)
    app.task(offline_units.run)
    app.task(offline_alerts.run)
    serve_metrics(app, settings.metrics_port, detection_metrics(flow.counts, lag, [units]))
    return app


def _table(app: faust.App, name: str, partitions: int, *, buffer_mib: int) -> faust.Table:
    """A table whose store holds twice the buffer and as much cache in memory, for each partition."""
    options = ROCKSDB_OPTIONS | {"write_buffer_size": buffer_mib << 20, "block_cache_size": buffer_mib << 20}
    return app.Table(name, partitions=partitions, key_type=bytes, value_type=bytes, options=options)


def partition_of(count: int, unit_id: str) -> int:
    """Where every producer puts the readings of the unit: all our producers use murmur2, as Java's clients do."""
    return int(murmur2(unit_id.encode()) & 0x7FFFFFFF) % count
