from domain.notification.paging import pages, roster
from domain.notification.request_ids import notify_now_request_id, sms_request_id, worse_request_id
from schemas import messages as m


def contact(user_id: str, **changes: object) -> m.Contact:
    fields: dict[str, object] = {"organization_id": "org-1", "name": user_id, "phone_e164": "+12025550100"}
    return m.Contact(user_id=user_id, **(fields | changes))  # type: ignore[arg-type]


def triggered(severity: m.Severity = m.Severity.CRITICAL, *, paging: bool = True) -> m.AlertTriggered:
    return m.AlertTriggered(
        alert_id="a-1",
        unit_id="u-1",
        organization_id="org-1",
        rule_id="r-1",
        kind=m.AlertKind.TEMPERATURE_HIGH,
        severity=severity,
        started_at_ms=0,
        at_ms=0,
        paging=paging,
    )


def test_the_people_of_an_organization_are_in_a_fixed_order() -> None:
    people = roster([contact("b"), contact("c", organization_id="org-2"), contact("a")])
    assert {organization: [who.user_id for who in of] for organization, of in people.items()} == {
        "org-1": ["a", "b"],
        "org-2": ["c"],
    }


def test_a_silent_alert_rings_no_phone() -> None:
    assert pages(triggered())
    assert not pages(triggered(paging=False))


def test_each_kind_of_sms_about_an_alert_has_an_id_of_its_own() -> None:
    order = m.NotifyNow(alert_id="a-1", unit_id="u-1", organization_id="org-1", user_id="ada", at_ms=1)
    again = m.NotifyNow(alert_id="a-1", unit_id="u-1", organization_id="org-1", user_id="ada", at_ms=2)
    ids = [
        sms_request_id("a-1", "ben", 1),
        worse_request_id("a-1", "ben", m.Severity.WARNING),
        worse_request_id("a-1", "ben", m.Severity.CRITICAL),
        notify_now_request_id(order, "ben"),
        notify_now_request_id(again, "ben"),
        notify_now_request_id(order, "eve"),
    ]
    assert len(set(ids)) == len(ids)
    assert notify_now_request_id(order, "ben") == ids[3]
