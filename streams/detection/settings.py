"""Settings of the worker `detection`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from domain.detection.aggregate_state import Policy
from streams.engine.settings import WorkerSettings


class DetectionSettings(WorkerSettings):
    bucket_grace_s: Annotated[
        float, Field(validation_alias="BUCKET_GRACE_S", description="how long a bucket waits for stragglers", gt=0)
    ] = 120.0
    bucket_keep_h: Annotated[
        int, Field(validation_alias="BUCKET_KEEP_H", description="how late readings may still revise a bucket", ge=1)
    ] = 48

    def policy(self) -> Policy:
        return Policy(grace_ms=int(self.bucket_grace_s * 1000), keep_ms=self.bucket_keep_h * 3_600_000)
