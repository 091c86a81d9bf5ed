"""Which provider sends mails; from the environment, names begin with MAIL_."""

from __future__ import annotations

from typing import Literal

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from broker.secret_files import SecretFileSettings
from streams.digests.mail.http import Mailgun, SendGrid, Ses
from streams.digests.mail.provider import Provider  # noqa: TC001
from streams.digests.mail.smtp import Smtp, SmtpServer
from streams.digests.report.rendered_digest import Mailbox


class MailSettings(SecretFileSettings):
    """Each field is the variable of its name with `MAIL_` before it."""

    model_config = SettingsConfigDict(env_prefix="MAIL_", frozen=True, extra="ignore", hide_input_in_errors=True)

    provider: Literal["smtp", "sendgrid", "mailgun", "ses"] = "smtp"
    sender: str = "digests@freshtrack.example.com"
    sender_name: str = "FreshTrack"
    timeout_s: float = 20.0
    url: str | None = None
    """Another address of the provider's API: its European region, or a fake one in tests."""

    smtp_host: str = "127.0.0.1"
    smtp_port: int = 587
    smtp_security: Literal["tls", "starttls", "none"] = "starttls"
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None
    smtp_connections: int = 5

    api_key: SecretStr | None = None
    """Of SendGrid or Mailgun."""
    mailgun_domain: str | None = None

    ses_region: str = "us-east-1"
    ses_access_key: str | None = None
    ses_secret_key: SecretStr | None = None
    ses_session_token: SecretStr | None = None

    def mailbox(self) -> Mailbox:
        return Mailbox(self.sender, self.sender_name)


def provider(settings: MailSettings) -> Provider:
    """The provider that the settings name; raises ValueError naming the setting that it lacks."""
    match settings.provider:
        case "sendgrid":
            return SendGrid(_needed(settings, "api_key"), url=settings.url, timeout_s=settings.timeout_s)
        case "mailgun":
            key, domain = _needed(settings, "api_key"), _needed(settings, "mailgun_domain")
            return Mailgun(key, domain, url=settings.url, timeout_s=settings.timeout_s)
        case "ses":
            token = settings.ses_session_token
            return Ses(
                _needed(settings, "ses_access_key"),
                _needed(settings, "ses_secret_key"),
                settings.ses_region,
                session_token=token.get_secret_value() if token else None,
                url=settings.url,
                timeout_s=settings.timeout_s,
            )
        case "smtp":
            password = settings.smtp_password
            return Smtp(
                SmtpServer(
                    host=settings.smtp_host,
                    port=settings.smtp_port,
                    security=settings.smtp_security,
                    user=settings.smtp_user,
                    password=password.get_secret_value() if password else None,
                    timeout_s=settings.timeout_s,
                    connections=settings.smtp_connections,
                )
            )


def _needed(settings: MailSettings, field: str) -> str:
    value: str | SecretStr | None = getattr(settings, field)
    if not value:
        raise ValueError(f"MAIL_{field.upper()} is not set, and MAIL_PROVIDER={settings.provider} needs it")
    return value.get_secret_value() if isinstance(value, SecretStr) else value
