"""A topic of a run's own: a broker that several runs share has one for each."""

from __future__ import annotations

from schemas.topic import Topic, Writer


def own_topic(name: str) -> Topic[bytes]:
    """A declaration for a topic that the run itself makes; without a prefix, `name` is its name at the broker."""
    return Topic(name=name, key="number", carries=bytes, writer=Writer.PRODUCERS, about="numbers of one run")
