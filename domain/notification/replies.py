"""What people answer to our SMS: an acknowledgement by code, an opt-out, an opt-in, a call for help.

The opt-out words are the ones that carriers and Telnyx act upon by themselves (CTIA, "Messaging Principles and Best
Practices", 5.1.3). They are therefore never commands here: somebody who writes END wants to stop receiving SMS,
whatever an alert's end may have to do with it.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

STOP_WORDS = frozenset({"STOP", "STOPALL", "STOP ALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "OPTOUT", "OPT OUT"})
STOP_WORDS |= {"REVOKE", "ARRET"}
START_WORDS = frozenset({"START", "UNSTOP", "YES", "SUBSCRIBE", "OPTIN", "OPT IN"})
HELP_WORDS = frozenset({"HELP", "INFO", "AIDE"})
_ACKNOWLEDGE = re.compile(r"(?:ACK|ACKNOWLEDGED?|OK|GOT IT)\b ?#?([0-9]{4})?", re.ASCII)
_CODE_ALONE = re.compile(r"#?([0-9]{4})", re.ASCII)


class _Reply(msgspec.Struct, frozen=True, tag_field="reply"):
    """The tags are the replies' names in metrics."""


class Acknowledged(_Reply, frozen=True, tag="acknowledged"):
    """Somebody took an alert on. `code` is None for a bare "ACK", which is clear only while one alert is open."""

    code: str | None


class Stopped(_Reply, frozen=True, tag="stopped"):
    """No more SMS to this number. The provider blocks it too, and answers by itself."""


class Started(_Reply, frozen=True, tag="started"):
    """SMS again."""


class HelpWanted(_Reply, frozen=True, tag="help_wanted"):
    """The provider answers this by itself."""


class NotUnderstood(_Reply, frozen=True, tag="not_understood"):
    """Kept with the alert's record; nothing follows from it."""


Reply = Acknowledged | Stopped | Started | HelpWanted | NotUnderstood


def name_of(reply: Reply) -> str:
    """The reply's name in metrics."""
    return str(reply.__struct_config__.tag)


def ack_code(alert_id: str, user_id: str) -> str:
    """The four digits that acknowledge an alert by SMS; the same for the alert's every reminder to this user.

    1000 to 9999: a leading zero would be lost on people. Two open alerts of one user share a code once in 9,000 pairs;
    answering then acknowledges both (see `acknowledged`), which is harmless beside acknowledging neither. The code is
    no secret: a reply counts only from the user's own number.
    """
    digest = hashlib.sha256(f"{len(alert_id)}:{alert_id}{user_id}".encode()).digest()
    return str(1000 + int.from_bytes(digest[:8]) % 9000)


def understand(text: str) -> Reply:
    """What a reply means. Case, punctuation and blanks around the words do not matter.

    A word of the opt-out list counts only as the whole message, as at the provider: "please stop the compressor" opts
    nobody out, and "STOP 4821" is no acknowledgement.
    """
    words = _plain(text)
    if words in STOP_WORDS:
        return Stopped()
    if words in START_WORDS:
        return Started()
    if words in HELP_WORDS:
        return HelpWanted()
    if match := _ACKNOWLEDGE.fullmatch(words) or _CODE_ALONE.fullmatch(words):
        return Acknowledged(match.group(1))
    return NotUnderstood()


def acknowledged(reply: Acknowledged, user_id: str, open_alert_ids: Iterable[str]) -> tuple[str, ...]:
    """The alerts that `reply` acknowledges, of those that are open and that this user was notified of.

    Without a code: the only open one. With several open a bare "ACK" acknowledges none, because taking the wrong one
    would silence its reminders.
    """
    open_alerts = tuple(dict.fromkeys(open_alert_ids))
    if reply.code is None:
        return open_alerts if len(open_alerts) == 1 else ()
    return tuple(alert_id for alert_id in open_alerts if ack_code(alert_id, user_id) == reply.code)


def _plain(text: str) -> str:
    """Upper case, no accents, single blanks, nothing but letters, digits and # (so "Ack: 4821." is "ACK 4821").

    Digits of other scripts become ours: some keyboards have no others.
    """
    pieces = (c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    unaccented = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in pieces)
    return " ".join(re.sub(r"[^A-Z0-9#]+", " ", unaccented.upper()).split())
