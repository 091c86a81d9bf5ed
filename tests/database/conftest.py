"""The databases that tests of schemas use."""

from tests.databases import database, empty_database, migrated_template, postgres_address

__all__ = ["database", "empty_database", "migrated_template", "postgres_address"]
