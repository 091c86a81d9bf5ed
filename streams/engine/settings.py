"""Settings of every worker, beside those of Kafka; all come from the environment."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from broker.partition_counts import partition_count
from broker.settings import KafkaSettings
from streams.engine.build import version

if TYPE_CHECKING:
    from schemas.topic import AnyTopic


class Store(StrEnum):
    ROCKSDB = "rocksdb"
    MEMORY = "memory"


class WorkerSettings(KafkaSettings):
    """One worker process; every worker on a machine needs its own `DATA_DIR`."""

    data_dir: Annotated[Path, Field(validation_alias="DATA_DIR", description="where RocksDB keeps the tables")] = Path(
        "data"
    )
    store: Annotated[Store, Field(validation_alias="STORE", description="tables on disk, or in memory only")] = (
        Store.ROCKSDB
    )
    max_batch: Annotated[
        int, Field(validation_alias="MAX_BATCH", description="records that a flow gets at once", ge=1)
    ] = 10_000
    queued_batches: Annotated[
        int, Field(validation_alias="QUEUED_BATCHES", description="batches of a topic under way", ge=1, le=1_000)
    ] = 8
    replication_factor: Annotated[
        int, Field(validation_alias="REPLICATION_FACTOR", description="copies of each changelog", ge=1)
    ] = 1
    session_timeout_s: Annotated[
        float, Field(validation_alias="SESSION_TIMEOUT_S", description="silence before others take over", gt=0)
    ] = 10.0
    freeze_limit_s: Annotated[
        float, Field(validation_alias="FREEZE_LIMIT_S", description="a pause that ends the process", gt=0)
    ] = 8.0
    commit_interval_s: Annotated[
        float, Field(validation_alias="COMMIT_INTERVAL_S", description="from commit to commit", gt=0)
    ] = 1.0
    send_limit_s: Annotated[
        float, Field(validation_alias="SEND_LIMIT_S", description="a slower send ends the worker", gt=0)
    ] = 30.0
    stall_limit_s: Annotated[
        float, Field(validation_alias="STALL_LIMIT_S", description="work without progress that ends the worker", gt=0)
    ] = 60.0
    drain_limit_s: Annotated[
        float, Field(validation_alias="DRAIN_LIMIT_S", description="from SIGTERM to the end", gt=0, le=60)
    ] = 30.0
    quarantine_limit: Annotated[
        int,
        Field(
            validation_alias="QUARANTINE_LIMIT",
            description="so many records of one minute on which our code fails end the worker; fewer are set aside",
            ge=1,
        ),
    ] = 3
    build: Annotated[
        str, Field(validation_alias="BUILD", description="what runs, as dead letters name it", default_factory=version)
    ]
    metrics_port: Annotated[
        int, Field(validation_alias="METRICS_PORT", description="0: a free one", ge=0, le=65_535)
    ] = 0

    metrics_host: Annotated[
        str,
        Field(validation_alias="METRICS_HOST", description="0.0.0.0 opens the metrics to the network", min_length=1),
    ] = "127.0.0.1"

    def partitions(self, topic: AnyTopic) -> int:
        """How many the topic has at the broker. Raises TopicError, BrokerUnreachableError."""
        return partition_count(self.librdkafka(), topic, prefix=self.topic_prefix)

    def faust_credentials(self) -> Any:  # noqa: ANN401 - Faust ships no types
        """What a Faust app needs to connect; None without authentication and encryption."""
        import faust

        context = self.ssl_context() if self.security_protocol.tls else None
        if self.security_protocol.sasl:
            return faust.SASLCredentials(
                mechanism=self.sasl_mechanism,
                username=self.sasl_username,
                password=self.password,
                ssl_context=context,
            )
        return faust.SSLCredentials(context) if context is not None else None

    @model_validator(mode="after")
    def _freeze_before_takeover(self) -> Self:
        if self.freeze_limit_s >= self.session_timeout_s:
            raise ValueError(
                f"FREEZE_LIMIT_S is {self.freeze_limit_s:g}, must be below SESSION_TIMEOUT_S"
                f" ({self.session_timeout_s:g}): a worker must notice a pause before others take its partitions"
            )
        return self
