import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.notification.replies import (
    START_WORDS,
    STOP_WORDS,
    Acknowledged,
    HelpWanted,
    NotUnderstood,
    Reply,
    Started,
    Stopped,
    ack_code,
    acknowledged,
    understand,
)

ids = st.text(min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        # what the SMS asks for
        ("ACK 4821", Acknowledged("4821")),
        # phones correct and capitalize
        ("Ack 4821.", Acknowledged("4821")),
        ("ack4821", NotUnderstood()),
        (" ack:  4821\n", Acknowledged("4821")),
        ("4821", Acknowledged("4821")),
        ("#4821", Acknowledged("4821")),
        ("ACK #4821", Acknowledged("4821")),
        ("Acknowledged 4821", Acknowledged("4821")),
        ("OK 4821!", Acknowledged("4821")),
        # without a code
        ("ack", Acknowledged(None)),
        ("got it", Acknowledged(None)),
        # a code has four digits
        ("ACK 482", NotUnderstood()),
        ("ACK 48210", NotUnderstood()),
        # the digits of another keyboard
        ("ACK \N{ARABIC-INDIC DIGIT FOUR}\N{ARABIC-INDIC DIGIT EIGHT}21", Acknowledged("4821")),
        # more than the command is a letter to us, not a command
        ("ACK 4821 but the door is broken", NotUnderstood()),
        ("do not ack 4821", NotUnderstood()),
        # opting out, in the words that carriers know
        ("STOP", Stopped()),
        ("stop.", Stopped()),
        ("Stop all", Stopped()),
        ("Unsubscribe", Stopped()),
        ("cancel", Stopped()),
        ("END", Stopped()),
        ("quit", Stopped()),
        ("Arrêt", Stopped()),
        # only as the whole message
        ("please stop the compressor", NotUnderstood()),
        ("STOP 4821", NotUnderstood()),
        ("ACK STOP", NotUnderstood()),
        # opting in again
        ("START", Started()),
        ("unstop", Started()),
        ("Yes", Started()),
        # help
        ("HELP", HelpWanted()),
        ("info", HelpWanted()),
        # nothing to read
        ("", NotUnderstood()),
        ("\N{THUMBS UP SIGN}", NotUnderstood()),
    ],
)
def test_what_a_reply_means(text: str, meaning: Reply) -> None:
    assert understand(text) == meaning


@pytest.mark.parametrize("word", sorted(STOP_WORDS))
def test_an_opt_out_word_is_never_a_command(word: str) -> None:
    assert understand(word) == Stopped()
    assert not isinstance(understand(f"{word} 4821"), Acknowledged)
    assert word not in START_WORDS


@given(st.text(max_size=1600))
def test_any_reply_has_a_meaning_whatever_blanks_are_around_it(text: str) -> None:
    assert understand(text) == understand(f"  {text}\r\n")


@given(ids, ids)
def test_a_code_has_four_digits_and_no_leading_zero(alert_id: str, user_id: str) -> None:
    code = ack_code(alert_id, user_id)
    assert code == ack_code(alert_id, user_id)
    assert 1000 <= int(code) <= 9999
    assert understand(f"ACK {code}") == Acknowledged(code)


def test_a_code_stays_what_it_is_across_versions() -> None:
    # It stands in SMS that were sent before an upgrade.
    assert ack_code("alert-1", "user-1") == "6227"


def test_the_parts_of_a_code_stay_apart() -> None:
    assert ack_code("ab", "c") != ack_code("a", "bc")


def test_a_code_acknowledges_its_alert_among_the_open_ones() -> None:
    assert acknowledged(Acknowledged(ack_code("b", "u")), "u", ["a", "b", "c"]) == ("b",)


def test_somebody_elses_code_acknowledges_nothing() -> None:
    assert acknowledged(Acknowledged(ack_code("b", "u")), "another", ["a", "b", "c"]) == ()


def test_a_bare_acknowledgement_is_clear_only_while_one_alert_is_open() -> None:
    assert acknowledged(Acknowledged(None), "u", ["a"]) == ("a",)
    assert acknowledged(Acknowledged(None), "u", ["a", "a"]) == ("a",)
    assert acknowledged(Acknowledged(None), "u", ["a", "b"]) == ()
    assert acknowledged(Acknowledged(None), "u", []) == ()
