import pytest

from domain.notification.decisions import Dead, OptedOut
from domain.notification.suppression import sms_suppression
from schemas import messages as m


def contact(**changes: object) -> m.Contact:
    fields: dict[str, object] = {"user_id": "u", "organization_id": "o", "name": "n", "phone_e164": "+12025550123"}
    return m.Contact(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("who", "code"),
    [
        (contact(), None),
        (None, "no_contact"),
        (contact(phone_e164=None), "no_phone"),
        (contact(phone_e164="+12025"), "bad_phone"),
    ],
)
def test_who_cannot_be_texted(who: m.Contact | None, code: str | None) -> None:
    found = sms_suppression(who)
    assert (found.error_code if isinstance(found, Dead) else found) == code


def test_who_opted_out_is_not_texted_even_on_a_bad_number() -> None:
    assert sms_suppression(contact(sms_opted_out=True, phone_e164=None)) == OptedOut()


def test_the_reason_for_a_bad_number_does_not_repeat_the_number() -> None:
    found = sms_suppression(contact(phone_e164="+12025"))
    assert isinstance(found, Dead)
    assert "12025," not in found.error
