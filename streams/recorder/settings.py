"""Settings of the worker `recorder`, beside those of every worker and `DATABASE_URL`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from streams.engine.settings import WorkerSettings


class RecorderSettings(WorkerSettings):
    """A transaction that takes longer is rolled back and retried."""

    try_limit_s: Annotated[
        float, Field(validation_alias="RECORDER_TRY_LIMIT_S", description="one transaction's time", gt=0, le=20)
    ] = 15.0
