"""The detection worker as it is deployed, with a clock around its flow.

    python -m benchmarks.detect_worker READINGS

Ends when that many readings are processed, every state is in the changelog and the offsets are committed. Writes one
JSON line to the file descriptor RESULT_FD: readings, seconds, alerts, buckets, CPU seconds and the peak of its memory.
The clock starts with the first batch.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import time
from typing import TYPE_CHECKING

from streams.detection.readings_to_alerts_and_aggregates import Detection

if TYPE_CHECKING:
    from streams.detection.counts import DetectionCounts
    from streams.engine.consumer import Batch
    from streams.engine.group_member import GroupMember


class Clock:
    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._begin = self._cpu = 0.0
        self._ending: asyncio.Task[None] | None = None

    def start(self) -> None:
        if not self._begin:
            self._begin, self._cpu = time.perf_counter(), time.process_time()

    def stop_when_done(self, counts: DetectionCounts, member: GroupMember) -> None:
        if counts.evaluated >= self._wanted and self._ending is None:
            self._ending = asyncio.ensure_future(self._end(counts, member))

    async def _end(self, counts: DetectionCounts, member: GroupMember) -> None:
        while any(partition.in_hand for partition in member.partitions.values()):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.001)
        await member.commit()
        result = {
            "readings": counts.evaluated,
            "seconds": time.perf_counter() - self._begin,
            "alerts": counts.alerts.total(),
            "buckets": counts.buckets,
            "cpu_seconds": time.process_time() - self._cpu,
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        os.write(int(os.environ["RESULT_FD"]), json.dumps(result).encode() + b"\n")
        os.kill(os.getpid(), signal.SIGTERM)


def main(wanted: int) -> None:
    clock, handle = Clock(wanted), Detection.handle

    async def timed(self: Detection, batch: Batch) -> None:
        clock.start()
        await handle(self, batch)
        clock.stop_when_done(self.counts, batch._member)  # noqa: SLF001 - to ask for a commit

    Detection.handle = timed  # type: ignore[method-assign]

    from streams.apps import build
    from streams.engine.run import run

    run("detection", build)


if __name__ == "__main__":
    main(int(sys.argv[1]))
