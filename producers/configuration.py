"""Configuration of units and people, published as the relay does it: the whole struct under its own id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.headers import type_name
from schemas.messages import Contact, DigestPreference, UnitConfig, encode
from schemas.topics import CONTACTS, DIGEST_PREFERENCES, UNITS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from producers.kafka import KafkaProducer


def publish_configuration(
    producer: KafkaProducer,
    *,
    units: Iterable[UnitConfig] = (),
    contacts: Iterable[Contact] = (),
    digest_preferences: Iterable[DigestPreference] = (),
    time_limit_s: float = 30.0,
) -> None:
    """Publish and wait until the broker has all of it. Replaces what was known under the same ids.

    Raises NotDeliveredError.
    """
    records = [
        *((UNITS, unit.unit_id, unit) for unit in units),
        *((CONTACTS, contact.user_id, contact) for contact in contacts),
        *((DIGEST_PREFERENCES, preference.user_id, preference) for preference in digest_preferences),
    ]
    futures = [
        producer.publish(topic, key, encode(message), message_type=type_name(type(message)))
        for topic, key, message in records
    ]
    producer.flush(time_limit_s)
    for future in futures:
        future.result(0)
