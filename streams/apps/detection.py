"""The worker `detection`: `readings` → thresholds → `alerts`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import messages as m
from schemas import topics as t
from streams.apps.wiring import agent, now_ms, publisher
from streams.engine.app import create_app
from streams.metrics import detection_metrics, serve_metrics
from streams.readings_to_alerts import Detection, fence_of
from streams.reference import Replica, load_before_work
from streams.settings import WorkerSettings

if TYPE_CHECKING:
    import faust


def build() -> faust.App:
    settings = WorkerSettings()
    app = create_app("detection", settings, batched={settings.topic(t.READINGS.name)}, fence_of=fence_of)
    units = Replica(t.UNITS, m.UnitConfig, settings)
    load_before_work(app, [units])
    states = app.Table("unit-states", partitions=t.READINGS.partitions, key_type=bytes, value_type=bytes)
    flow = Detection(publisher(app), states, units, settings.topic, now_ms)
    agent(app, settings.topic(t.READINGS.name), flow.handle)
    serve_metrics(app, settings.metrics_port, detection_metrics(flow.counts, [units]))
    return app
