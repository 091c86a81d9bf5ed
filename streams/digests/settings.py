"""Settings of the worker `digests`, beside `DATABASE_URL` and those of mails (`MAIL_...`)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from domain.digest.unsubscribe import SHORTEST_SECRET_BYTES
from domain.notification.retry import BackOff, RetryPolicy
from streams.engine.settings import WorkerSettings


def _long_enough(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().encode()) < SHORTEST_SECRET_BYTES:
        raise ValueError(f"takes at least {SHORTEST_SECRET_BYTES} bytes; openssl rand -base64 32 makes a good one")
    return secret


class DigestsSettings(WorkerSettings):
    """A batch of mails is small, so that it ends within the drain limit."""

    max_batch: Annotated[
        int, Field(validation_alias="MAX_BATCH", description="records that a flow gets at once", ge=1)
    ] = 200
    public_url: Annotated[
        str,
        Field(validation_alias="PUBLIC_URL", pattern=r"^https?://\S+$", description="the API as recipients reach it"),
    ]
    unsubscribe_secret: Annotated[
        SecretStr,
        AfterValidator(_long_enough),
        Field(validation_alias="UNSUBSCRIBE_SECRET", description="signs the unsubscribe links, the same for the api"),
    ]
    digest_wait_s: Annotated[
        float,
        Field(
            validation_alias="DIGEST_WAIT_S",
            description="longest wait for recorded buckets; then it is sent without",
            ge=0,
        ),
    ] = 240.0
    email_concurrency: Annotated[
        int, Field(validation_alias="EMAIL_CONCURRENCY", description="mails to the provider at once", ge=1)
    ] = 5
    email_attempts: Annotated[
        int, Field(validation_alias="EMAIL_ATTEMPTS", description="for answers about the mail itself", ge=1)
    ] = 3
    email_deadline_s: Annotated[
        float, Field(validation_alias="EMAIL_DEADLINE_S", description="then a mail is given up", gt=0)
    ] = 86_400.0

    page_email_deadline_s: Annotated[
        float,
        Field(validation_alias="PAGE_EMAIL_DEADLINE_S", description="then a page by e-mail is given up", gt=0),
    ] = 14_400.0

    def email_retries(self) -> RetryPolicy:
        return RetryPolicy(attempts=self.email_attempts, back_off=BackOff.EXPONENTIAL, base_s=2.0)
