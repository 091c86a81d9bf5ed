"""The topics of digests and of e-mails; `topics.py` has them among all."""

from __future__ import annotations

from schemas import messages as m
from schemas.topic import DAY_MS, FOR_EVER, Topic, Writer

DIGEST_RUNS: Topic[m.DigestRun] = Topic(
    name="digest-runs",
    key="user id",
    carries=m.DigestRun,
    writer=Writer.RELAY_AND_DIGESTS,
    about="A user's digest may be due, or is asked for at once",
)
DIGEST_JOBS: Topic[m.DigestWanted] = Topic(
    name="digest-jobs",
    key="organization id",
    carries=m.DigestWanted,
    writer=Writer.DIGESTS_AND_REDRIVES,
    about="Who wants which digest of an organization; what agrees in period, timezone and due time is made once",
)
DIGEST_PROGRESS: Topic[m.DigestProgress] = Topic(
    name="digest-progress",
    key="user id",
    carries=m.DigestProgress,
    writer=Writer.DIGESTS,
    about="How far each user's digest is, from 10 to 100",
    retention_ms=90 * DAY_MS,
)
EMAIL_REQUESTS: Topic[m.EmailRequest] = Topic(
    name="email-requests",
    key="user id",
    carries=m.EmailRequest,
    writer=Writer.DIGESTS_AND_REDRIVES,
    about="One e-mail to one person",
)
EMAIL_RETRIES: Topic[m.EmailRetry] = Topic(
    name="email-retries",
    key="user id",
    carries=m.EmailRetry,
    writer=Writer.DIGESTS,
    about="Failed attempts with error and due time",
)
EMAIL_OUTCOMES: Topic[m.MailOutcome | m.PageMailOutcome] = Topic(
    name="email-outcomes",
    key="user id",
    carries=m.MailOutcome | m.PageMailOutcome,
    writer=Writer.DIGESTS,
    about="Every decision about an e-mail",
    retention_ms=365 * DAY_MS,
)
EMAIL_DLQ: Topic[m.EmailDeadLetter | m.DigestDeadLetter | m.UnreadableRecord] = Topic(
    name="email-dlq",
    key="user id",
    carries=m.EmailDeadLetter | m.DigestDeadLetter | m.UnreadableRecord,
    writer=Writer.DIGESTS,
    about="Mails and digests that a person must look at",
    retention_ms=FOR_EVER,
)
PAGE_EMAILS: Topic[m.PageEmail] = Topic(
    name="page-emails",
    key="user id",
    carries=m.PageEmail,
    writer=Writer.NOTIFICATIONS_AND_DIGESTS,
    about="Pages that the SMS provider did not take in time, or nobody answered, as e-mails",
)
