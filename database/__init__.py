"""The long memory in PostgreSQL: `configuration` is what people set, `records` what happened, `queues` what waits."""
