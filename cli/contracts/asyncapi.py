"""AsyncAPI 3.0: every topic as a channel, every message with its key, headers and an example."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import msgspec

from cli.contracts.examples import Json, example_of
from schemas.headers import Header, type_name
from schemas.topic import AnyTopic
from schemas.topics import TOPICS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from msgspec import Struct

ROOT = Path(__file__).resolve().parents[2]
KAFKA_BINDING = "0.5.0"

HEADERS: dict[Header, dict[str, Json]] = {
    Header.ID: {"type": "string", "description": "Idempotency key: a record with an id seen before changes nothing"},
    Header.TYPE: {"type": "string", "description": "Which message the value is"},
    Header.TRACEPARENT: {
        "type": "string",
        "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
        "description": "W3C Trace Context",
    },
}
# Headers are text on the wire, numbers too.
FAILURE_HEADERS: dict[Header, dict[str, Json]] = {
    Header.ATTEMPT: {"type": "string", "pattern": "^[0-9]+$", "description": "The attempt that failed"},
    Header.ERROR: {"type": "string", "description": "What went wrong, in words"},
    Header.ERROR_CODE: {"type": "string", "description": "What went wrong, as a code"},
    Header.DUE_AT: {
        "type": "string",
        "pattern": "^[0-9]+$",
        "description": "When it is tried again, milliseconds since 1970-01-01 UTC; on retries only",
    },
    Header.ORIGINAL_TOPIC: {"type": "string", "description": "Where the record lay that this one stems from"},
    Header.ORIGINAL_PARTITION: {"type": "string", "pattern": "^[0-9]+$", "description": "Its partition"},
    Header.ORIGINAL_OFFSET: {"type": "string", "pattern": "^[0-9]+$", "description": "Its offset"},
}


def asyncapi(topics: Iterable[AnyTopic] = TOPICS) -> dict[str, Json]:
    """The whole document, as JSON holds it."""
    topics = list(topics)
    types = list(dict.fromkeys(kind for topic in topics for kind in message_types(topic)))
    _, schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "FreshTrack Stream",
            "version": _version(),
            "description": "Temperature readings, alerts and text messages on Apache Kafka. Values are JSON, keys are"
            " text, partitions are chosen by murmur2 over the key.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in topics},
        "operations": {f"send-{topic.name}": _operation(topic) for topic in topics},
        "components": {
            "schemas": schemas,
            "messages": {
                _message_key(topic, kind): _message(topic, kind) for topic in topics for kind in message_types(topic)
            },
        },
    }


def message_types(topic: AnyTopic) -> tuple[type[Struct], ...]:
    """The structs that a topic carries, its union taken apart."""
    return get_args(topic.carries) or (topic.carries,)


def headers_of(topic: AnyTopic, kind: type[Struct]) -> dict[str, Json]:
    """JSON Schema of a record's headers."""
    known: dict[Header, dict[str, Json]] = HEADERS | {Header.TYPE: HEADERS[Header.TYPE] | {"const": type_name(kind)}}
    failed = topic.name.endswith(("-retries", "-dlq"))
    shown = known | (FAILURE_HEADERS if failed else {})
    if failed and topic.name.endswith("-dlq"):
        shown = {name: schema for name, schema in shown.items() if name is not Header.DUE_AT}
    return {"type": "object", "properties": {name.value: schema for name, schema in shown.items()}}


def _channel(topic: AnyTopic) -> dict[str, Json]:
    settings: dict[str, Json] = {
        "cleanup.policy": ["compact" if topic.compacted else "delete"],
        "max.message.bytes": topic.max_message_bytes,
    }
    if not topic.compacted:
        settings["retention.ms"] = topic.retention_ms
    tombstones = " A record without a value deletes what its key names." if topic.compacted else ""
    return {
        "address": topic.name,
        "title": topic.name,
        "description": f"{topic.about}. Key: {topic.key}. Written by: {topic.writer}.{tombstones}",
        "messages": {
            type_name(kind): {"$ref": f"#/components/messages/{_message_key(topic, kind)}"}
            for kind in message_types(topic)
        },
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": settings,
                "bindingVersion": KAFKA_BINDING,
            }
        },
    }


def _operation(topic: AnyTopic) -> dict[str, Json]:
    return {
        "action": "send",
        "title": f"{topic.writer} writes {topic.name}",
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "messages": [{"$ref": f"#/channels/{topic.name}/messages/{type_name(kind)}"} for kind in message_types(topic)],
        "tags": [{"name": f"writer: {topic.writer}"}],
        "x-writer": topic.writer.value,
    }


def _message(topic: AnyTopic, kind: type[Struct]) -> dict[str, Json]:
    return {
        "name": type_name(kind),
        "title": kind.__name__,
        "contentType": "application/json",
        "headers": headers_of(topic, kind),
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": topic.key},
                "bindingVersion": KAFKA_BINDING,
            }
        },
        "examples": [{"name": type_name(kind), "payload": example_of(kind)}],
    }


def _message_key(topic: AnyTopic, kind: type[Struct]) -> str:
    # By topic, because headers and key differ where a message lies in several.
    return f"{topic.name}.{type_name(kind)}"


def _version() -> str:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])
