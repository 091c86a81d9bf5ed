"""Ids of units and contacts: qualified in Kafka and in tables (`acme/fridge-1`), plain to people (`fridge-1`).

Two organizations may use the same plain id. An id is qualified where the caller's organization is known: by the API,
its webhooks and the MQTT bridge; whoever writes to Kafka sends qualified ids. In between an id is one opaque string. No
organization's id and no plain id contains a slash, so the first slash separates them.

A gateway's id stays plain: it only ever stands beside its organization, as in `gateway:acme/warehouse`.
"""

from __future__ import annotations

SEPARATOR = "/"


def qualified(organization_id: str, plain_id: str) -> str:
    """The id for Kafka and tables. Text of another organization cannot escape: the caller's is always put before it."""
    return f"{organization_id}{SEPARATOR}{plain_id}"


def plain(any_id: str) -> str:
    """The id for people. A plain id is returned as it is."""
    _, separator, rest = any_id.partition(SEPARATOR)
    return rest if separator else any_id


def plain_each(listed: str) -> str:
    """A list as timelines keep it, `acme/ann, acme/bob (off duty)`, for people."""
    return ", ".join(plain(item) for item in listed.split(", "))
