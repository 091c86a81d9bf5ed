"""Between Kafka and the flows of a worker: delivery, commits, tables, timers.

Faust (faust-streaming) gives apps, agents, tables, the assignor and the worker's life cycle. What it does between the
broker and a flow is replaced: stock Faust loses records when a group rebalances with a backlog, commits over failed
sends, and waits without limits.

**One record's way.** `kafka_client.py` runs aiokafka in a thread of its own, behind the small interface of
`broker_client.py`. `delivery.py` is the one loop that moves records: it fetches for partitions that have none, and
hands batches over to the flows while their topic has room. `consumer.py` is what a flow sees: a `Batch`, which is
completed when the flow returns, and returned when it raises `Stale`; any other exception ends the worker. `commits.py`
commits what is completed, when everything that follows from it is at the broker (`sends.py`).

**One object a partition** (`partition.py`, pure) owns the position, the fetched records and the ranges of offsets:
assigned to a flow, completed, or returned. Ranges may be completed in any order; `completed` moves over the oldest
ones only, and it alone is committed. When a range is returned, everything in hand of that partition number is void, is
sought and read again from `completed` on, under a new epoch. Partition 3 of one topic and partition 3 of another share
partition 3 of the tables, so they share that epoch; the other numbers go on.

**An assignment** is served by one task of `group_member.py`: restore the tables from their changelogs
(`recovery.py`), find out where reading begins (`placement.py`, there is no reset policy), deliver. Before partitions
go, what is at work may finish, and is committed; after that nothing of the assignment has an effect. `lag_watchdog.py`
watches it. Rebalances are eager. `stream_consumer.py` connects all this to Faust.

**Every wait ends.** Calls to the broker have limits; giving up partitions takes less than the session timeout
(`bounded.py`: Faust swallows cancellations, so a limit is a task of its own that is left behind). A worker that has
work and makes no progress for `STALL_LIMIT_S` logs it, counts it and ends; so does one whose sends fail, or which was
frozen (`freeze_guard.py`). Ending is always safe: what is not committed is read again by the next owner.

**Tables** (`tables.py`) are the changelog, and the local store follows it. A write is shown to reads at once
(`unacknowledged.py`), goes out in whole batches (`batch_writer.py`), and reaches the store with its offset when the
broker has it: so the store is what the changelog was at some offset, whenever the process dies. The store's offset
stops at a gap, where another worker wrote, until the next recovery has read that. `stores.py` drops a store that is
older than the changelog's deletions (`changelog.py`). `timers.py` keeps durable timers in such a table.

**When a topic is not the one that it was.** A topic that ends before a known offset is refused (`placement.py`), and so
is one that was deleted and created again, however long it is by now: `topic_identity.py` keeps the topics' ids in the
data folder and beside the changelogs. What retention took unread is passed over, logged and counted.

**Effects.** Delivery is at least once. A flow publishes, then writes its tables, then returns, so a crash repeats all
of it: outputs have deterministic ids, and a table's values carry the offset that they contain (`tables.py`). Before an
effect that cannot be taken back, a flow asks `Batch.still_ours()`: false once the partition went, and while the group
has not heard of this worker for as long as others wait before they take over.

`private_names.py` lists every private name of Faust and aiokafka that is used, `tests/streams/engine/test_pins.py`
the behaviour that is relied on.
"""
