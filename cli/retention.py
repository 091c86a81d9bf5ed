"""`retention`: how long everything is kept, in one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from database.retention import RetentionSettings
    from schemas.topic import AnyTopic


def retention() -> None:
    """Show how long each topic and each table keeps what it holds, and which setting says so."""
    from database.retention import RetentionSettings

    for name, kept, by in rows(RetentionSettings()):
        typer.echo(f"{name:34} {kept:24} {by}")


def rows(settings: RetentionSettings) -> Iterator[tuple[str, str, str]]:
    """Name, time and setting of each topic and each table."""
    from database.retention import RULES
    from database.upgrade import metadata
    from schemas.topics import TOPICS

    for topic in TOPICS:
        yield f"topic {topic.name}", _of_topic(topic), "schemas/topics.py"
    days = {rule.table: int(getattr(settings, rule.table)) for rule in RULES}
    for table in sorted(metadata().tables):
        if table in days:
            yield f"table {table}", f"{days[table]} days" if days[table] else "for ever", f"RETENTION_{table.upper()}"
        else:
            yield f"table {table}", "until deleted", "-"


def _of_topic(topic: AnyTopic) -> str:
    from schemas.topic import DAY_MS, FOR_EVER

    if topic.compacted:
        return "the newest of each key"
    return "for ever" if topic.retention_ms == FOR_EVER else f"{topic.retention_ms // DAY_MS} days"


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel="Operations")(retention)
