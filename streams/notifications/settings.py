"""Settings of the notifications worker."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, HttpUrl, SecretStr

from domain.notification.escalation import Times
from domain.notification.receipts import Waits
from domain.notification.retry import BackOff, RetryPolicy
from schemas.messages import Severity
from streams.engine.settings import WorkerSettings
from streams.notifications.rate_limiter import Limits
from streams.notifications.sms_policy import SmsPolicy
from streams.notifications.telnyx.client import API, TelnyxSettings

POLLS_AT_ONCE = 5


class NotificationsSettings(WorkerSettings):
    """The provider's account, and how much may be under way. A lane's batch is small: it must end before a drain."""

    max_batch: Annotated[
        int, Field(validation_alias="MAX_BATCH", description="records that a flow gets at once", ge=1)
    ] = 250
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
    sms_per_second: Annotated[
        int, Field(validation_alias="SMS_PER_SECOND", description="of all workers together, in any second", ge=4)
    ] = 100
    sms_global_cap: Annotated[
        int, Field(validation_alias="SMS_GLOBAL_CAP", description="requests at once of all workers together", ge=4)
    ] = 20
    sms_attempts: Annotated[
        int, Field(validation_alias="SMS_ATTEMPTS", description="for answers about the message itself", ge=1)
    ] = 3
    sms_deadline_critical_s: Annotated[
        float, Field(validation_alias="SMS_DEADLINE_CRITICAL_S", description="then a message is given up", gt=0)
    ] = 14_400.0
    sms_deadline_warning_s: Annotated[
        float, Field(validation_alias="SMS_DEADLINE_WARNING_S", description="then a message is given up", gt=0)
    ] = 3_600.0
    sms_deadline_info_s: Annotated[
        float, Field(validation_alias="SMS_DEADLINE_INFO_S", description="then a message is given up", gt=0)
    ] = 1_800.0
    rate_window_s: Annotated[
        float,
        Field(validation_alias="RATE_WINDOW_S", description="one SMS a user and kind; 0: no limit", ge=0),
    ] = 900.0
    sms_window: Annotated[
        Literal["roll-up", "strict"],
        Field(validation_alias="SMS_WINDOW", description="strict: what the window holds back is dropped"),
    ] = "roll-up"
    sms_gather_s: Annotated[
        float, Field(validation_alias="SMS_GATHER_S", description="critical alerts of other units in one SMS", ge=0)
    ] = 20.0
    sms_most_critical: Annotated[
        int, Field(validation_alias="SMS_MOST_CRITICAL", description="to a user and kind in a window", ge=1)
    ] = 4
    sms_late_s: Annotated[
        float, Field(validation_alias="SMS_LATE_S", description="a later first SMS says when it was", gt=0)
    ] = 300.0
    telnyx_webhook_url: Annotated[
        HttpUrl | None,
        Field(
            validation_alias="TELNYX_WEBHOOK_URL",
            description="public address of the api; without it there are no receipts to wait for",
        ),
    ] = None
    telnyx_webhook_failover_url: Annotated[
        HttpUrl | None, Field(validation_alias="TELNYX_WEBHOOK_FAILOVER_URL", description="a second address of the api")
    ] = None
    receipt_wait_s: Annotated[
        float,
        Field(validation_alias="RECEIPT_WAIT_S", description="until an attempt counts as lost", gt=0, le=50),
    ] = 20.0
    receipt_final_wait_s: Annotated[
        float, Field(validation_alias="RECEIPT_FINAL_WAIT_S", description="until the provider is asked", gt=0)
    ] = 300.0
    escalation_wait_s: Annotated[
        float, Field(validation_alias="ESCALATION_WAIT_S", description="without an answer, until the next level", gt=0)
    ] = 900.0

    escalation_again_s: Annotated[
        float, Field(validation_alias="ESCALATION_AGAIN_S", description="unanswered critical alerts page again", gt=0)
    ] = 1_800.0
    escalation_look_again_s: Annotated[
        float, Field(validation_alias="ESCALATION_LOOK_AGAIN_S", description="while nobody is on duty", gt=0)
    ] = 60.0
    second_way_s: Annotated[
        float, Field(validation_alias="SECOND_WAY_S", description="not accepted, a critical page goes by e-mail", gt=0)
    ] = 60.0
    acknowledgement_lapse_s: Annotated[
        float, Field(validation_alias="ACKNOWLEDGEMENT_LAPSE_S", description="of a critical alert that goes on", gt=0)
    ] = 14_400.0
    all_clear: Annotated[
        Literal["critical", "all", "none"],
        Field(validation_alias="ALL_CLEAR", description="whose end is sent to whoever was paged"),
    ] = "critical"

    def escalation(self) -> Times:
        """When an escalation goes on."""
        return Times(
            round(self.escalation_wait_s * 1000),
            round(self.escalation_again_s * 1000),
            round(self.acknowledgement_lapse_s * 1000),
            round(self.escalation_look_again_s * 1000),
        )

    def policy(self) -> SmsPolicy:
        """What decides about each SMS."""
        return SmsPolicy(
            window_ms=round(self.rate_window_s * 1000),
            strict=self.sms_window == "strict",
            gather_ms=round(self.sms_gather_s * 1000),
            most_critical=self.sms_most_critical,
            late_ms=round(self.sms_late_s * 1000),
            receipts=self.telnyx_webhook_url is not None,
            waits=Waits(round(self.receipt_wait_s * 1000), round(self.receipt_final_wait_s * 1000)),
            retry=RetryPolicy(attempts=self.sms_attempts, back_off=BackOff.EXPONENTIAL, base_s=1.0),
            deadlines_ms={
                Severity.CRITICAL: round(self.sms_deadline_critical_s * 1000),
                Severity.WARNING: round(self.sms_deadline_warning_s * 1000),
                Severity.INFO: round(self.sms_deadline_info_s * 1000),
            },
        )

    def limits(self, partitions: int) -> Limits:
        """What the limiter keeps."""
        return Limits(partitions, self.sms_per_second, self.sms_global_cap, self.sms_concurrency)

    def telnyx(self) -> TelnyxSettings:
        """What the provider's client needs."""
        return TelnyxSettings(
            api_key=self.telnyx_api_key.get_secret_value(),
            from_e164=self.telnyx_from,
            messaging_profile_id=self.telnyx_messaging_profile_id,
            base_url=self.telnyx_api_url,
            timeout_s=self.sms_timeout_s,
            connections=self.sms_concurrency + POLLS_AT_ONCE,
            webhook_url=_address(self.telnyx_webhook_url),
            webhook_failover_url=_address(self.telnyx_webhook_failover_url),
        )


def _address(url: HttpUrl | None) -> str | None:
    return None if url is None else str(url).rstrip("/")
