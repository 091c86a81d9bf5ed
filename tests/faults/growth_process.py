"""A process that grows the topics of a storm, and may kill itself after so many steps."""

from __future__ import annotations

import os
import signal
import sys

import msgspec

from broker.growth.grow import grow
from broker.growth.layout import Layout, TableLayout, WorkerLayout
from streams.table_layout import key_of_timer

WORKER, SOURCE = "worker", "source"


class Growth(msgspec.Struct, frozen=True):
    """`dies_after`: the step (counted from 1) after which the process is killed; 0: never."""

    bootstrap: str
    prefix: str
    partitions: int
    timers: bool = False
    dies_after: int = 0


def layout_of(growth: Growth) -> Layout:
    if growth.timers:
        table = TableLayout("timers", key_of_timer)
    else:
        table = TableLayout("sums", lambda key, _: key, counts_in=SOURCE)
    return Layout((WorkerLayout(WORKER, (SOURCE,), (table,)),), drained={})


def main() -> None:
    growth = msgspec.json.decode(sys.argv[1], type=Growth)
    told = 0

    def tell(step: str) -> None:
        nonlocal told
        told += 1
        sys.stdout.write(f"{step}\n")
        sys.stdout.flush()
        if told == growth.dies_after:
            os.kill(os.getpid(), signal.SIGKILL)

    layout = layout_of(growth)
    grow({"bootstrap.servers": growth.bootstrap}, layout, growth.partitions, prefix=growth.prefix, tell=tell)


if __name__ == "__main__":
    main()
