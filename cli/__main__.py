"""`freshtrack --help` reads as a table of contents. Commands import what they need only when they run."""

from __future__ import annotations

import typer

from cli import (
    api,
    audit,
    audit_trail,
    bench,
    check,
    db,
    dead_letters,
    demo,
    digests,
    keys,
    mqtt,
    personal_data,
    produce,
    promises,
    relay,
    retention,
    schemas,
    sms,
    topics,
    why,
    worker,
)
from cli.seed import command as seed

app = typer.Typer(
    name="freshtrack",
    help="Cold-chain temperature monitoring on Apache Kafka.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
demo.register(app)
worker.register(app)
db.register(app)
retention.register(app)
api.register(app)
keys.register(app)
relay.register(app)
mqtt.register(app)
produce.register(app)
seed.register(app)
dead_letters.register(app)
digests.register(app)
sms.register(app)
why.register(app)
audit_trail.register(app)
personal_data.register(app)
topics.register(app)
schemas.register(app)
promises.register(app)
check.register(app)
audit.register(app)
bench.register(app)

if __name__ == "__main__":
    app(prog_name="freshtrack")
