"""`retention` leaves out no topic and no table."""

from __future__ import annotations

from typer.testing import CliRunner

from cli.__main__ import app
from cli.retention import rows
from database.retention import RetentionSettings
from database.upgrade import metadata
from schemas.topics import TOPICS


def test_every_topic_and_every_table_has_a_line() -> None:
    found = {name: (kept, by) for name, kept, by in rows(RetentionSettings(alerts=0, email_log=30))}
    assert set(found) == {f"topic {topic.name}" for topic in TOPICS} | {f"table {name}" for name in metadata().tables}
    assert found["topic sms-outcomes"][0] == "365 days"
    assert found["topic sms-dlq"][0] == "for ever"
    assert found["topic contacts"][0] == "the newest of each key"
    assert found["table alerts"] == ("for ever", "RETENTION_ALERTS")
    assert found["table email_log"] == ("30 days", "RETENTION_EMAIL_LOG")
    assert found["table users"] == ("until deleted", "-")


def test_the_command_prints_them() -> None:
    done = CliRunner().invoke(app, ["retention"], catch_exceptions=False)
    assert (done.exit_code, "RETENTION_SMS_REQUESTS" in done.output) == (0, True)
