"""What the worker `recorder` writes into SQL, and from which topic.

To record another topic:

1. Write a module here with a struct a table (a subclass of `SqlRow`: a field a column), and a pure function
   `rows(record: Incoming) -> Sequence[SqlRow]`. It decodes `record.value` and may raise `msgspec.MsgspecError`: such a
   record becomes a row of `job_failures`. It knows no clock and no database.
2. Say how each struct is written: `insert(TheRow, "the_table", on_conflict="DO NOTHING")`, or an update by
   `Statement`. A statement must give the same result when it sees a row again, or two rows of one key in one batch.
3. Add `Route(t.THE_TOPIC, rows, (THE_SINK, ...))` to `ROUTES` in `routes.py`. Sinks are written in this order, in the
   transaction that also moves the topic's offset.

Batches, offsets, an absent database, refused rows and metrics need nothing more.
"""
