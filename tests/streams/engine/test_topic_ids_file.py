"""The file of topic ids, when the process dies while it writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.engine import topic_identity
from streams.engine.settings import WorkerSettings


class Died(BaseException):
    """The process is gone."""


def test_a_worker_that_died_while_it_wrote_the_ids_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = WorkerSettings(data_dir=tmp_path)
    monkeypatch.setattr(topic_identity, "_ids", lambda *_: {"readings": "id-1"})
    monkeypatch.setattr(topic_identity, "_remembered", lambda *_: {})
    monkeypatch.setattr(topic_identity, "_remember", lambda *_: None)
    topic_identity.check_identity(settings, "detection", ["readings"])
    whole = Path.write_bytes

    def half(path: Path, content: bytes) -> int:
        whole(path, content[: len(content) // 2])
        raise Died

    with monkeypatch.context() as dying:
        dying.setattr(Path, "write_bytes", half)
        with pytest.raises(Died):
            topic_identity.check_identity(settings, "detection", ["readings"])
    topic_identity.check_identity(settings, "detection", ["readings"])
