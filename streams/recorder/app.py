"""The worker `recorder`: outcome topics → SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from database.engine import DatabaseSettings, make_engine
from schemas import topics as t
from streams.engine.app import create_app
from streams.engine.metrics import serve_metrics
from streams.engine.wiring import agent, now_ms
from streams.recorder.availability import Availability
from streams.recorder.counts import Counts
from streams.recorder.metrics import recorder_metrics
from streams.recorder.outcomes_to_sql import Recorder
from streams.recorder.rewinding import Rewind
from streams.recorder.routes import ROUTES
from streams.recorder.settings import RecorderSettings
from streams.recorder.watermarks import Watermarks, ends_of

if TYPE_CHECKING:
    import faust

# Digests are made of these, and must know that nothing is missing.
WATERMARKED = (t.UNIT_AGGREGATES, t.ALERTS)


def build() -> faust.App:
    settings = RecorderSettings()
    # Each flow has one transaction at a time, and the watermarks have another.
    database = DatabaseSettings().model_copy(update={"pool_size": len(ROUTES) + 1})
    # Who is behind a change stands in the rows; the audit trail learns by which way it came.
    engine = make_engine(database, acting={"origin": "worker recorder"})
    app = create_app("recorder", settings, batched=[route.topic for route in ROUTES], applied_offset_of=None)
    availability, counts, rewind = Availability(), Counts(), Rewind(app, settings.topic)
    for route in ROUTES:
        flow = Recorder(
            engine,
            route,
            availability,
            counts,
            rewind=rewind,
            try_limit_s=settings.try_limit_s,
            build=settings.build,
        )
        agent(app, route.topic, flow.handle, set_aside=flow.set_aside)
    topics = [route.topic for route in ROUTES]
    kept = {topic.name: settings.partitions(topic) for topic in WATERMARKED}
    watermarks = Watermarks(engine, topics, kept, ends_of(app, settings.topic), now_ms, rewind, availability)
    app.task(watermarks.run)
    serve_metrics(app, settings.metrics_port, recorder_metrics(counts, availability, watermarks))
    return app
