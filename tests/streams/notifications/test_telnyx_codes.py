import csv
from pathlib import Path

import pytest

from domain.notification.error_class import ErrorClass
from streams.notifications.telnyx.codes import BY_CODE, TABLE, classify

PUBLISHED = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "telnyx" / "error_codes.csv"

C = ErrorClass


def test_every_published_code_has_its_row_with_its_title() -> None:
    if not PUBLISHED.exists():
        pytest.skip("Telnyx's list of error codes does not lie beside the project.")
    with PUBLISHED.open() as file:
        published = {row["code"]: row["title"] for row in csv.DictReader(file)}
    assert len(published) == 63
    assert published.keys() <= BY_CODE.keys()

    def letters(text: str) -> str:
        return "".join(filter(str.isalnum, text.lower()))

    assert {code: letters(BY_CODE[code].title) for code in published} == {
        code: letters(title) for code, title in published.items()
    }


# Telnyx's 63 published codes, and what each says about trying again; "!": somebody in operations must look.
CLASSES = {
    "recipient": "10001 10002 10016 40001 40004 40012 40301 40310 40319",
    "recipient!": "40311",
    "opted_out": "40300",
    "message!": "10004 10015 40009 40302 40304 40316 40317 40322 40328",
    "configuration!": "10003 10005 10006 10009 10010 20002 20006 20012 20013 20014 20015 20017 20100 40010 40013"
    " 40150 40151 40305 40306 40308 40312 40313 40314 40315 40321 40329",
    "transient": "10007 40005 40006 40008 40014 40320",
    "throttled": "10011 40002 40011 40016 40018 40318",
    "ask_a_person!": "40003 40015 40017 40100 40309",
}


def test_every_published_code_has_its_class() -> None:
    written_down = {code: of for of, codes in CLASSES.items() for code in codes.split()}
    assert len(written_down) == 63
    found = {code: BY_CODE[code].error_class.value + "!" * BY_CODE[code].notify_ops for code in written_down}
    assert found == written_down


def test_no_code_has_two_rows() -> None:
    assert len(BY_CODE) == len(TABLE)


@pytest.mark.parametrize(
    ("codes", "error_class"),
    [
        # the number cannot get it: tried once
        ("40001 40310 10002 10016 40012 40311", C.RECIPIENT),
        # the recipient wrote STOP
        ("40300", C.OPTED_OUT),
        # our account or sender: the lane pauses
        ("10009 10010 20012 20100 40305 40312 40313 40314 40315 40329 40333", C.CONFIGURATION),
        # it may work in a moment
        ("40400 50000 50001 10007 40006 40008 40014", C.TRANSIENT),
        # too fast, here or at a carrier
        ("10011 40011 40016 40018 40318", C.THROTTLED),
    ],
)
def test_the_codes_of_the_design_have_its_classes(codes: str, error_class: ErrorClass) -> None:
    assert {classify(code).error_class for code in codes.split()} == {error_class}


@pytest.mark.parametrize(
    ("code", "http_status", "error_class", "notify_ops"),
    [
        # a code with a row: the status adds nothing
        ("40310", 500, C.RECIPIENT, False),
        # one number is given up, but ops looks: it may be our profile's secret
        ("40311", 422, C.RECIPIENT, True),
        # no row, the status speaks: a proxy in between
        ("http-503", 503, C.UNAVAILABLE, False),
        # it may pass by itself, and the server says that it is its own fault
        ("50000", 500, C.UNAVAILABLE, False),
        ("http-401", 401, C.CONFIGURATION, True),
        # the address or the profile: as 401
        ("http-404", 404, C.CONFIGURATION, True),
        ("http-429", 429, C.THROTTLED, False),
        ("49999", 422, C.MESSAGE, True),
        # no row, no status: a receipt with a code of tomorrow
        ("49999", 0, C.UNKNOWN, True),
        # nothing that we know
        ("http-302", 302, C.UNKNOWN, True),
    ],
)
def test_a_code_without_a_row_is_classed_by_the_http_status(
    code: str, http_status: int, error_class: ErrorClass, notify_ops: bool
) -> None:
    row = classify(code, http_status)
    assert (row.error_class, row.notify_ops) == (error_class, notify_ops)


def test_what_pauses_a_lane_is_always_told_to_ops() -> None:
    assert all(row.notify_ops for row in TABLE if row.error_class is C.CONFIGURATION)
