"""Settings of the notifications worker."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr

from streams.settings import WorkerSettings
from streams.telnyx import API, TelnyxSettings


class NotificationsSettings(WorkerSettings):
    """The provider's account, and how much may be under way. A lane's batch is small: it must end before a drain."""

    max_batch: Annotated[
        int, Field(validation_alias="MAX_BATCH", description="records that a flow gets at once", ge=1)
    ] = 100
    telnyx_api_key: Annotated[SecretStr, Field(validation_alias="TELNYX_API_KEY")]
    telnyx_from: Annotated[str, Field(validation_alias="TELNYX_FROM", pattern=r"^\+[1-9]\d{1,14}$")]
    telnyx_messaging_profile_id: Annotated[str, Field(validation_alias="TELNYX_MESSAGING_PROFILE_ID", min_length=1)]
    telnyx_api_url: Annotated[str, Field(validation_alias="TELNYX_API_URL", description="the provider's address")] = API
    sms_timeout_s: Annotated[
        float, Field(validation_alias="SMS_TIMEOUT_S", description="a whole exchange with the provider", gt=0, le=30)
    ] = 10.0
    sms_concurrency: Annotated[
        int, Field(validation_alias="SMS_CONCURRENCY", description="requests to the provider at once", ge=1)
    ] = 10

    def telnyx(self) -> TelnyxSettings:
        """What the provider's client needs."""
        return TelnyxSettings(
            api_key=self.telnyx_api_key.get_secret_value(),
            from_e164=self.telnyx_from,
            messaging_profile_id=self.telnyx_messaging_profile_id,
            base_url=self.telnyx_api_url,
            timeout_s=self.sms_timeout_s,
            connections=self.sms_concurrency,
        )
