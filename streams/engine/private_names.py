"""Every private name of Faust, mode and aiokafka that the engine uses or overrides, and why no public one will do.

`tests/streams/engine/test_pins.py` checks that each still exists, and that the engine uses no other.
"""

from __future__ import annotations

PRIVATE_NAMES: dict[str, str] = {
    # Overridden.
    "faust.app.base:App._new_transport": "app.py: the transport decides which consumer Faust makes",
    "faust.tables.base:Collection._new_store_by_url": "tables.py: our stores, which write many values at once",
    "faust.transport.consumer:Consumer._drain_messages": "stream_consumer.py: Faust's fetch loop is not run",
    "faust.transport.drivers.aiokafka:Consumer._new_consumer_thread": "stream_consumer.py: our client",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._create_worker_consumer": (
        "kafka_client.py: Faust offers no setting for the reset policy, `fetch_max_wait_ms`, or reading committed"
    ),
    "mode.worker:Worker._schedule_shutdown": "app.py: the drain limit counts from the signal on",
    # Used, Faust.
    "faust.stores.rocksdb:Store._db_for_partition": "stores.py: many keys in one call",
    "faust.tables.manager:TableManager._changelogs": "stream_consumer.py: the table of a changelog",
    "faust.tables.manager:TableManager._update_channels": "app.py: starts the tables, subscribes to their changelogs",
    "faust.transport.consumer:Consumer._unacked_messages": "stream_consumer.py: Faust's own book is kept empty",
    "faust.transport.consumer:ThreadDelegateConsumer._thread": "stream_consumer.py: the client that Faust started",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._ensure_consumer": "kafka_client.py: aiokafka's consumer",
    "faust.transport.drivers.aiokafka:Producer._ensure_producer": (
        "batch_writer.py, publish.py: Faust's `send` costs ten times as much, and has no batches"
    ),
    # Used, aiokafka.
    "aiokafka.consumer.consumer:AIOKafkaConsumer._closed": "kafka_client.py: `fetched_records` does not look at it",
    "aiokafka.consumer.consumer:AIOKafkaConsumer._coordinator": "kafka_client.py: no hook for heartbeats",
    "aiokafka.consumer.consumer:AIOKafkaConsumer._fetcher": "kafka_client.py: `getmany` cannot be interrupted",
    "aiokafka.consumer.consumer:AIOKafkaConsumer._subscription": "kafka_client.py: `position` may wait",
    "aiokafka.consumer.consumer:AIOKafkaConsumer._client": "topic_tailer.py: no public way to wait for a topic",
    "aiokafka.consumer.fetcher:Fetcher._closed": "kafka_client.py: as above",
    "aiokafka.consumer.fetcher:Fetcher._prefetch_backoff": "kafka_client.py: no setting, 100 ms would hold up fetches",
    "aiokafka.consumer.fetcher:Fetcher._subscriptions": "kafka_client.py: `fetch_context` notes that the app lives",
    "aiokafka.consumer.group_coordinator:GroupCoordinator._send_req": (
        "kafka_client.py: when the group was asked, not when it answered"
    ),
}
