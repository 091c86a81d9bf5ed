"""The committed schemas follow from the declarations, are valid, and accept what we really send."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import msgspec
import pytest

from cli.contracts import documents
from cli.contracts.asyncapi import asyncapi, headers_of, message_types
from cli.contracts.examples import NoExampleError, decoded, example_of
from schemas.headers import Header, content_id, new_traceparent, type_name
from schemas.messages import ReadingBatch, encode
from schemas.topics import READINGS, READINGS_DLQ, SMS_RETRIES, TOPICS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.topic import AnyTopic

ROOT = Path(__file__).resolve().parents[2]
MESSAGES = [pytest.param(t, kind, id=f"{t.name}-{kind.__name__}") for t in TOPICS for kind in message_types(t)]

# The parts of AsyncAPI 3.0 that the document uses, as its specification describes them.
REFERENCE = {"type": "object", "required": ["$ref"], "properties": {"$ref": {"type": "string", "pattern": "^#/"}}}
KEY = "^[A-Za-z0-9_.-]+$"
ASYNCAPI = {
    "type": "object",
    "required": ["asyncapi", "info", "channels", "operations", "components"],
    "additionalProperties": False,
    "properties": {
        "asyncapi": {"const": "3.0.0"},
        "info": {
            "type": "object",
            "required": ["title", "version"],
            "properties": {"title": {"type": "string"}, "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+"}},
        },
        "defaultContentType": {"const": "application/json"},
        "channels": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["address", "messages", "bindings"],
                "properties": {
                    "address": {"type": "string"},
                    "messages": {"type": "object", "minProperties": 1, "additionalProperties": REFERENCE},
                    "bindings": {
                        "required": ["kafka"],
                        "properties": {
                            "kafka": {
                                "required": ["topic", "partitions", "topicConfiguration", "bindingVersion"],
                                "properties": {
                                    "topic": {"type": "string"},
                                    "partitions": {"type": "integer", "minimum": 1},
                                    "topicConfiguration": {
                                        "properties": {
                                            "cleanup.policy": {
                                                "type": "array",
                                                "items": {"enum": ["compact", "delete"]},
                                            },
                                            "retention.ms": {"type": "integer", "minimum": -1},
                                            "max.message.bytes": {"type": "integer", "minimum": 0},
                                        }
                                    },
                                    "bindingVersion": {"const": "0.5.0"},
                                },
                            }
                        },
                    },
                },
            },
        },
        "operations": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["action", "channel", "messages", "x-writer"],
                "properties": {
                    "action": {"enum": ["send", "receive"]},
                    "channel": REFERENCE,
                    "messages": {"type": "array", "minItems": 1, "items": REFERENCE},
                },
            },
        },
        "components": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "schemas": {"propertyNames": {"pattern": KEY}},
                "messages": {
                    "propertyNames": {"pattern": KEY},
                    "additionalProperties": {
                        "type": "object",
                        "required": ["name", "headers", "payload", "bindings", "examples"],
                        "properties": {
                            "payload": REFERENCE,
                            "headers": {"properties": {"type": {"const": "object"}}},
                            "bindings": {
                                "properties": {"kafka": {"required": ["key", "bindingVersion"], "type": "object"}}
                            },
                        },
                    },
                },
            },
        },
    },
}


def validator(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def schema_of(topic: AnyTopic) -> dict[str, Any]:
    name = documents._file_name(topic.carries, topic.name)
    schema: dict[str, Any] = json.loads((documents.FOLDER / "messages" / f"{name}.json").read_text())
    return schema


def references(node: object) -> Iterator[str]:
    match node:
        case dict():
            for name, value in node.items():
                if name == "$ref":
                    yield value
                else:
                    yield from references(value)
        case list():
            for value in node:
                yield from references(value)


def test_the_committed_documents_follow_from_the_declarations() -> None:
    differing = documents.stale()
    assert not differing, (
        f"schemas/generated/ is out of date ({', '.join(differing)}): messages.py or topics.py changed;"
        " run `./freshtrack schemas` and commit what it writes"
    )


def test_a_stale_a_missing_and_a_left_over_document_are_seen_and_written(tmp_path: Path) -> None:
    documents.write(tmp_path)
    (tmp_path / "asyncapi.json").write_text("{}")
    (tmp_path / "messages" / "alert.json").unlink()
    (tmp_path / "messages" / "gone.json").write_text("{}")
    differing = ["asyncapi.json", "messages/alert.json", "messages/gone.json"]
    assert documents.stale(tmp_path) == differing
    assert documents.write(tmp_path) == differing
    assert documents.stale(tmp_path) == []


def test_the_same_declarations_give_the_same_bytes_in_every_process() -> None:
    program = "import hashlib, json; from cli.contracts.documents import documents; print(json.dumps(documents()))"
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1


@pytest.mark.parametrize(("topic", "kind"), MESSAGES)
def test_an_example_of_each_message_is_valid_and_is_what_we_would_send(
    topic: AnyTopic, kind: type[msgspec.Struct]
) -> None:
    example = example_of(kind)
    check = validator(schema_of(topic))
    check.validate(example)
    sent = json.loads(encode(decoded(kind, example)))
    check.validate(sent)
    assert sent == example


@pytest.mark.parametrize(("topic", "kind"), MESSAGES)
def test_a_message_without_one_of_its_required_fields_is_refused(topic: AnyTopic, kind: type[msgspec.Struct]) -> None:
    check = validator(schema_of(topic))
    for field in msgspec.structs.fields(kind):
        if field.required:
            lacking = {name: value for name, value in example_of(kind).items() if name != field.encode_name}
            assert not check.is_valid(lacking), field.name


def test_the_asyncapi_document_has_the_shape_of_asyncapi_3() -> None:
    document = json.loads((documents.FOLDER / "asyncapi.json").read_text())
    validator(ASYNCAPI).validate(document)
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi()
    found = set(references(document))
    assert found
    for reference in found:
        node: Any = document
        for step in reference.removeprefix("#/").split("/"):
            assert step in node, reference
            node = node[step]


def test_every_topic_is_a_channel_that_only_its_writer_sends_to() -> None:
    document: Any = asyncapi()
    assert list(document["channels"]) == [topic.name for topic in TOPICS]
    for topic in TOPICS:
        operation = document["operations"][f"send-{topic.name}"]
        assert (operation["action"], operation["x-writer"]) == ("send", topic.writer)
        assert operation["channel"]["$ref"] == f"#/channels/{topic.name}"
        assert document["channels"][topic.name]["bindings"]["kafka"]["partitions"] == topic.partitions


@pytest.mark.parametrize(("topic", "kind"), MESSAGES)
def test_the_examples_in_the_asyncapi_document_match_their_payload(topic: AnyTopic, kind: type[msgspec.Struct]) -> None:
    document: Any = asyncapi()
    message = document["components"]["messages"][f"{topic.name}.{type_name(kind)}"]
    schema = {"$ref": message["payload"]["$ref"], "components": document["components"]}
    for example in message["examples"]:
        validator(schema).validate(example["payload"])


def test_what_a_producer_puts_in_the_headers_is_what_the_document_says() -> None:
    headers = {
        "id": content_id(b"u", b"{}"),
        "type": type_name(ReadingBatch),
        "traceparent": new_traceparent(),
    }
    check = validator(headers_of(READINGS, ReadingBatch))
    check.validate(headers)
    assert not check.is_valid(headers | {"type": "another"})
    assert not check.is_valid(headers | {"traceparent": "00-1-2-3"})


def test_retries_and_dead_letters_carry_what_failed_and_only_retries_when_they_are_due() -> None:
    failure = {"attempt", "error", "error-code", "original-topic", "original-partition", "original-offset"}
    named: Any = {
        t.name: headers_of(t, message_types(t)[0])["properties"] for t in (SMS_RETRIES, READINGS_DLQ, READINGS)
    }
    assert set(named["sms-retries"]) == {header.value for header in Header}
    assert set(named["readings-dlq"]) == {"id", "type", "traceparent"} | failure
    assert set(named["readings"]) == {"id", "type", "traceparent"}


def test_the_same_record_has_the_same_id_and_another_key_or_value_another() -> None:
    assert content_id(b"u", b"1") == content_id(b"u", b"1")
    assert len({content_id(b"u", b"1"), content_id(b"u", b"2"), content_id(b"v", b"1"), content_id(b"", b"u1")}) == 4


def test_a_field_that_no_example_is_known_for_is_named() -> None:
    class Odd(msgspec.Struct):
        raw: msgspec.Raw

    with pytest.raises(NoExampleError, match=r"Odd\.raw is of .*; say in cli/contracts/examples\.py"):
        example_of(Odd)
