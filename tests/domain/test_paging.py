import pytest

from schemas import messages as m
from streams.domain.paging import pages, recipients, roster


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


@pytest.mark.parametrize(
    ("who", "severity", "told"),
    [
        # wants warnings and worse: a critical alert is worse
        (contact("u", minimum_severity=m.Severity.WARNING), m.Severity.CRITICAL, True),
        # exactly the minimum is enough
        (contact("u", minimum_severity=m.Severity.WARNING), m.Severity.WARNING, True),
        # below the minimum
        (contact("u", minimum_severity=m.Severity.WARNING), m.Severity.INFO, False),
        # off duty
        (contact("u", on_duty=False), m.Severity.CRITICAL, False),
        # only told by escalation
        (contact("u", escalation_level=2), m.Severity.CRITICAL, False),
        # somebody else's staff
        (contact("u", organization_id="org-2"), m.Severity.CRITICAL, False),
    ],
)
def test_who_is_told_first(who: m.Contact, severity: m.Severity, told: bool) -> None:
    assert bool(recipients(triggered(severity), roster([who]), 1)) is told


def test_everyone_on_duty_is_told_in_a_fixed_order() -> None:
    people = roster([contact("b"), contact("c", on_duty=False), contact("a")])
    assert [who.user_id for who in recipients(triggered(), people, 1)] == ["a", "b"]


def test_a_silent_alert_rings_no_phone() -> None:
    assert pages(triggered())
    assert not pages(triggered(paging=False))
