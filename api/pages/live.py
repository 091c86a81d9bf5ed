"""The live page: a tile a unit, the worst first, changed within a second of its reading."""

from collections import defaultdict
from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event

from api.authentication import Caller
from api.organizations import organization_of
from api.pages import live_units
from api.pages.rendering import page, part
from api.pages.tiles import Tile, in_order, site_in_words
from api.pages.viewer import Looking
from api.services import Services, Used
from database.declarative import to_ms

router = APIRouter(include_in_schema=False)

Site = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
PageNumber = Annotated[int, Query(ge=1, le=10_000)]
TILES = 200
# A changed tile is sent at most this often, and a sign of life at least this often.
EVERY_S = 1.0
HEARTBEAT_S = 15.0
# Browsers open a new stream by themselves, which also ends what a proxy or a phone has forgotten.
STREAM_LASTS_S = 600.0


async def tiles_of(services: Services, caller: Caller, site: str | None) -> tuple[list[Tile], str, str]:
    """The tiles, the worst first; the organization's unit of temperature and zone."""
    services.live.start()
    async with services.transaction() as session:
        organization = await organization_of(session, caller.organization_id)
        facts = await live_units.facts(session, caller.organization_id, site=site)
        alerts = await live_units.open_alerts(session, caller.organization_id, services.live)
    found = live_units.tiles(facts, alerts, services.live, to_ms(services.now()))
    return in_order(found), organization.display_unit, organization.timezone


def _on_page(tiles: list[Tile], number: int) -> list[Tile]:
    return tiles[(number - 1) * TILES : number * TILES]


@router.get("/live")
async def show_live(viewer: Looking, services: Used, site: Site = None, number: PageNumber = 1) -> Response:
    """Also without a script: then it is as of now, and reloads each minute."""
    everything, display_unit, timezone = await tiles_of(services, viewer.caller, None)
    by_site: defaultdict[str, list[Tile]] = defaultdict(list)
    for one in everything:
        by_site[one.fact.site].append(one)
    shown = everything if site is None else by_site.get(site, [])
    return page(
        "live.html",
        viewer,
        section="Live",
        tiles=_on_page(shown, number),
        sites=[(name, site_in_words(by_site[name])) for name in sorted(by_site)],
        site=site,
        number=number,
        pages=max(1, -(-len(shown) // TILES)),
        summary=site_in_words(shown),
        attention=sum(one.needs_attention for one in shown),
        display_unit=display_unit,
        timezone=timezone,
        now_ms=to_ms(services.now()),
        reading=services.live.reading,
    )


@router.get("/live/changes")
async def changes(viewer: Looking, services: Used, site: Site = None, number: PageNumber = 1) -> Response:
    """Server-sent events: `tiles` with the HTML of changed tiles, `order` when the list is to be fetched again, and
    `alive` every 15 s, because a page cannot see comments.
    """
    shown, display_unit, timezone = await tiles_of(services, viewer.caller, site)
    return StreamingResponse(
        events(services, viewer.caller, _on_page(shown, number), display_unit, timezone),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def events(
    services: Services, caller: Caller, shown: list[Tile], display_unit: str, timezone: str
) -> AsyncGenerator[bytes]:
    states = {one.fact.unit_id: one.state for one in shown}
    ends_at = services.clock() + STREAM_LASTS_S
    subscription = services.live.subscribe(states)
    try:
        yield format_sse_event(event="alive", data_str="1", retry=2_000)
        while not subscription.closed and services.clock() < ends_at:
            changed = await subscription.changes(HEARTBEAT_S)
            if not changed:
                yield format_sse_event(event="alive", data_str="1")
                continue
            tiles = await _present(services, caller, changed)
            html = "".join(
                part("tile.html", tile=one, display_unit=display_unit, timezone=timezone, now_ms=to_ms(services.now()))
                for one in tiles
            )
            yield format_sse_event(event="tiles", data_str=html)
            moved = [one for one in tiles if states[one.fact.unit_id] is not one.state]
            if moved:
                states.update((one.fact.unit_id, one.state) for one in moved)
                said = "; ".join(f"{one.fact.name}: {one.state.value}" for one in moved[:3])
                yield format_sse_event(event="order", data_str=said)
            await subscription.pause(EVERY_S)
    finally:
        subscription.close()


async def _present(services: Services, caller: Caller, unit_ids: set[str]) -> list[Tile]:
    async with services.transaction() as session:
        facts = await live_units.facts(session, caller.organization_id, unit_ids=unit_ids)
        alerts = await live_units.open_alerts(session, caller.organization_id, services.live, unit_ids)
    return live_units.tiles(facts, alerts, services.live, to_ms(services.now()))
