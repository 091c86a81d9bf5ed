from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from broker.partition_counts import TopicError
from streams.engine.settings import WorkerSettings
from streams.engine.topic_identity import check_identity

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Eventually, Kafka

pytestmark = pytest.mark.broker


def test_a_topic_that_was_deleted_and_created_again_is_refused_with_the_way_out(
    kafka: Kafka, tmp_path: Path, eventually: Eventually
) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    settings = WorkerSettings(bootstrap_servers=kafka.bootstrap, data_dir=tmp_path / "data")
    again, kept = (f"{name}-{uuid.uuid4().hex[:8]}" for name in ("again", "kept"))

    def create(name: str) -> bool:
        return admin.create_topics([NewTopic(name, 1, 1)])[name].exception() is None

    assert create(again)
    assert create(kept)
    eventually(lambda: {again, kept} <= admin.list_topics(timeout=10).topics.keys())
    app = f"app-{uuid.uuid4().hex[:8]}"
    check_identity(settings, app, [again, kept])
    check_identity(settings, app, [again, kept])
    admin.delete_topics([again])[again].result()
    eventually(lambda: create(again), within_s=20, what="the topic to be created again")
    eventually(lambda: again in admin.list_topics(timeout=10).topics)
    check_identity(settings, app, [kept])
    with pytest.raises(TopicError, match=rf"^{again}: deleted and created again.*reset its group's offsets"):
        check_identity(settings, app, [again, kept])
    # The changelogs are old, whatever the data folder.
    new = WorkerSettings(bootstrap_servers=kafka.bootstrap, data_dir=tmp_path / "new")
    with pytest.raises(TopicError, match=rf"^{again}: deleted.*the topic {app}-topic-ids-changelog"):
        check_identity(new, app, [again, kept])
    # The data folder is old, whatever the changelogs.
    with pytest.raises(TopicError, match=rf"^{again}: deleted and created again"):
        check_identity(settings, f"{app}-new", [again, kept])
    # With new tables in a new folder it is a topic as any other.
    check_identity(new, f"{app}-newer", [again, kept])
