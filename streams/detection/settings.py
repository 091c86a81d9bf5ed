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

    bucket_max_readings: Annotated[
        int,
        Field(validation_alias="BUCKET_MAX_READINGS", description="more in one bucket are refused", ge=1, le=40_000),
    ] = 10_000
    reading_max_age_d: Annotated[
        int, Field(validation_alias="READING_MAX_AGE_D", description="older readings are refused", ge=3)
    ] = 400

    def policy(self) -> Policy:
        return Policy(
            grace_ms=int(self.bucket_grace_s * 1000),
            keep_ms=self.bucket_keep_h * 3_600_000,
            max_readings=self.bucket_max_readings,
        )

    @property
    def max_age_ms(self) -> int:
        return self.reading_max_age_d * 86_400_000
