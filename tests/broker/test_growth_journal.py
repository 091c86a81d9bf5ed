"""A run that died between making the topic of its plan and writing the plan; brokers in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.growth import grow as growth
from broker.growth.layout import Layout
from broker.partition_counts import GROWING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import pytest


class Brokers:
    def __init__(self, topics: dict[str, int]) -> None:
        self.topics = topics

    def __call__(self, _: object) -> Brokers:
        return self

    def counts(self) -> dict[str, int]:
        return dict(self.topics)

    def refuse_active(self, _: Collection[str]) -> None:
        pass

    def ends(self, _: str, partitions: int, *, first: bool = False) -> list[int]:
        del first
        return [0] * partitions

    def read(self, *_: object) -> Iterator[Any]:
        return iter(())

    def delete_topic(self, topic: str) -> None:
        del self.topics[topic]

    def close(self) -> None:
        pass


def test_where_nothing_is_left_to_grow_workers_may_start_again(monkeypatch: pytest.MonkeyPatch) -> None:
    brokers = Brokers({"outcomes": 12, GROWING: 1})
    monkeypatch.setattr(growth, "Cluster", brokers)
    monkeypatch.setattr(growth, "Transaction", lambda *_: None)
    told: list[str] = []
    for _ in range(2):
        growth.grow({}, Layout((), drained={"recorder": ("outcomes",)}), 12, tell=told.append)
    assert brokers.topics == {"outcomes": 12}
    assert told == ["everything has 12 partitions or more"] * 2
