"""What the pages show and do, without a browser: each works without its script."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from api.authentication import Caller
from api.pages import live
from api.pages.live_feed import UnitNow
from api.pages.rendering import STATIC, static_path
from api.pages.static_files import NAMES
from database.configuration import UnitRow
from database.declarative import to_ms
from database.records import UnitAggregateRow
from schemas.roles import Role
from tests.api.pages.test_sign_in import csrf_in, signed_in
from tests.api.worlds import alert, furnish

if TYPE_CHECKING:
    from tests.api_world import Api

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

NOW = datetime.now(UTC)


@pytest.fixture
async def acme(api: Api) -> Api:
    """Acme's fridge has an open alert and a reading of 9.5 °C; somebody of acme is signed in."""
    await furnish(api.database)
    await signed_in(api, Role.MEMBER)
    read(api, "acme/fridge", 9.5)
    return api


def read(api: Api, unit_id: str, celsius: float, at: datetime | None = None) -> None:
    """At the present time, unless another is given."""
    at = at or datetime.now(UTC)
    api.app.state.services.live.units.setdefault(unit_id, UnitNow()).add(to_ms(at), celsius)


async def add(api: Api, *rows: object) -> None:
    async with AsyncSession(api.database) as session, session.begin():
        session.add_all(rows)


def said(html: str) -> str:
    """The text of a page on one line."""
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))).replace("\N{NO-BREAK SPACE}", " ")


async def test_the_live_page_says_of_each_unit_how_it_is(acme: Api) -> None:
    await add(acme, UnitRow(unit_id="acme/milk", organization_id="acme", name="Milk <b>", gateway_id="north"))
    text = (await acme.client.get("/live")).text
    assert "(1) Live" not in text
    assert said(text).count("Critical") == 1
    assert "Fridge Critical 49.1 °F" in said(text)
    assert "Milk <b> Nothing yet — no limits no reading yet" in said(text)
    assert "Live readings are interrupted" in text
    assert text.index("tile-fridge") < text.index("tile-milk")
    assert "2 of 2 need attention" in said(text).lower()
    north = (await acme.client.get("/live", params={"site": "north"})).text
    assert "tile-milk" in north
    assert "tile-fridge" not in north


async def test_a_last_value_that_is_too_old_is_marked_as_such(acme: Api) -> None:
    acme.app.state.services.live.units.clear()
    read(acme, "acme/fridge", 5.0, datetime.now(UTC) - timedelta(hours=1))
    text = (await acme.client.get("/live")).text
    assert 'class="tile critical stale"' in text
    assert "last 1 h ago" in said(text) or "last 60 min ago" in said(text), said(text)


async def test_changed_tiles_come_as_events_and_a_changed_state_asks_for_the_list_again(acme: Api) -> None:
    await add(acme, UnitRow(unit_id="acme/milk", organization_id="acme", name="Milk"))
    services = acme.app.state.services
    viewer = services.keys  # the stream asks for nothing but the organization
    assert viewer

    caller = Caller("k", Role.MEMBER, "acme")
    shown, *look = await live.tiles_of(services, caller, None)
    events = live.events(services, caller, shown, *look)
    assert b"event: alive" in await anext(events)
    read(acme, "acme/milk", 4.0)
    services.live._announce({"acme/milk", "somebody-elses"})
    tiles = (await anext(events)).decode()
    assert "event: tiles" in tiles
    assert "39.2" in tiles
    assert "fridge" not in tiles
    assert "Milk: In range" in (await anext(events)).decode()
    await events.aclose()
    assert not services.live._waiting


async def test_the_alerts_page_has_what_fires_and_the_other_what_is_over(acme: Api) -> None:
    await add(acme, alert("a2", 5, resolved_at=NOW, severity="warning"))
    assert "Nobody has answered" in said((await acme.client.get("/alerts")).text)
    past = said((await acme.client.get("/alerts", params={"past": "yes"})).text)
    assert "Warning Fridge" in past
    assert "Critical" not in past


async def test_looking_at_an_alert_changes_nothing_and_one_button_acknowledges_it(acme: Api) -> None:
    for _ in range(2):
        page = await acme.client.get("/alerts/a1")
        assert "Acknowledge" in page.text
        assert await acme.outbox() == []
    data = {"csrf": csrf_in(page), "note": "Door was open"}
    for _ in range(2):
        answer = await acme.client.post("/alerts/a1/acknowledge", data=data)
        assert (answer.status_code, answer.headers["location"]) == (303, "/alerts/a1")
    assert [topic for topic, _, _ in await acme.outbox()] == ["alert-commands"]
    after = said((await acme.client.get("/alerts/a1")).text)
    assert "Acknowledged by key:" in after
    assert "Door was open" in after
    assert "Note" not in after


@pytest.mark.parametrize(("path", "kind"), [("notify", "notify_now"), ("snooze", "silence")])
async def test_people_can_be_notified_now_and_an_alert_snoozed(acme: Api, path: str, kind: str) -> None:
    csrf = csrf_in(await acme.client.get("/alerts/a1"))
    answer = await acme.client.post(f"/alerts/a1/{path}", data={"csrf": csrf, "minutes": "30"})
    assert answer.status_code == 303, answer.text
    [(_, _, message)] = await acme.outbox()
    assert message is not None
    assert message["type"] == kind


@pytest.mark.parametrize("minutes", ["", "0", "-5", "soon", "9" * 40])
async def test_a_snooze_of_no_length_is_refused(acme: Api, minutes: str) -> None:
    csrf = csrf_in(await acme.client.get("/alerts/a1"))
    answer = await acme.client.post("/alerts/a1/snooze", data={"csrf": csrf, "minutes": minutes})
    assert answer.status_code == 422
    assert await acme.outbox() == []


async def test_a_unit_shows_its_history_as_chart_table_and_csv(acme: Api) -> None:
    begin = NOW.replace(minute=0, second=0, microsecond=0)
    await add(acme, *(bucket(begin - timedelta(minutes=15 * number), 4.0 + number) for number in range(1, 4)))
    text = (await acme.client.get("/units/fridge")).text
    assert '"points":[[' in text
    assert "46.4 °F" in said(text) or "44.6 °F" in said(text)
    download = await acme.client.get("/units/fridge/history.csv", params={"stretch": "day"})
    lines = download.text.splitlines()
    assert lines[0] == "time_utc,min_c,mean_c,max_c"
    assert [line.split(",")[1:] for line in lines[1:]] == [["7.00"] * 3, ["6.00"] * 3, ["5.00"] * 3]
    year = await acme.client.get("/units/fridge/history.csv", params={"stretch": "year"})
    assert year.text.splitlines()[-1].endswith(",7.00") or len(year.text.splitlines()) == 3
    assert (await acme.client.get("/units/fridge", params={"stretch": "2h"})).status_code == 200
    assert (await acme.client.get("/units/fridge", params={"stretch": "century"})).status_code == 422


def bucket(starts_at: datetime, celsius: float) -> UnitAggregateRow:
    numbers = dict.fromkeys(("above_s", "below_s", "covered_s", "mkt_seconds", "mkt_sum"), 0.0)
    return UnitAggregateRow(
        organization_id="acme",
        unit_id="acme/fridge",
        starts_at=starts_at,
        revision=1,
        count=2,
        sum_c=2 * celsius,
        min_c=celsius,
        max_c=celsius,
        first_c=celsius,
        last_c=celsius,
        excursions=0,
        **numbers,
    )


@pytest.mark.parametrize("path", ["/alerts/a1", "/units/fridge", "/units/fridge/history.csv", "/nowhere"])
async def test_what_belongs_to_another_organization_does_not_exist(acme: Api, path: str) -> None:
    await signed_in(acme, Role.ADMIN, "other")
    answer = await acme.client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert "Fridge" not in answer.text
    assert answer.headers["content-type"].startswith("text/html")
    for page in ("/live", "/alerts"):
        assert "fridge" not in (await acme.client.get(page)).text.lower()


async def test_static_files_are_kept_for_ever_and_nothing_else_is_served(api: Api) -> None:
    for name in NAMES:
        answer = await api.client.get(static_path(name))
        assert answer.content == (STATIC / name).read_bytes()
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-type"].split(";")[0] in ("text/css", "text/javascript")
    for path in ("/static/0000/app.css", f"{static_path('app.css')}/../app.js", "/static/x/../../settings.py"):
        assert (await api.client.get(path)).status_code == 404


async def test_vendored_files_are_what_they_were(api: Api) -> None:
    vendor = STATIC / "vendor"
    listed = {line.split()[1]: line.split()[0] for line in (vendor / "SHA256SUMS").read_text().splitlines()}
    assert listed == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in vendor.iterdir()
        if path.suffix in (".js", ".css")
    }


@pytest.mark.parametrize("path", ["/units/%00", "/units/%00/history.csv", "/units/%ff", "/live/changes?site=%00"])
async def test_what_no_database_can_hold_is_no_error_of_ours(acme: Api, path: str) -> None:
    assert (await acme.client.get(path)).status_code in (404, 422)
