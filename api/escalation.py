"""The escalation chain: who is notified when nobody acknowledges."""

import hashlib
import json
from collections import defaultdict

from fastapi import APIRouter, Request, Response
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api import entity_tags
from api.organizations import organization_of
from api.problems import invalid, responses
from api.services import Configurer, Reader, Used
from database.configuration import ContactRow, EscalationStepRow
from outbox.writer import publish_contacts
from schemas.http.escalation import EscalationChain
from schemas.identity import plain

router = APIRouter(tags=["escalation"], responses=responses(400, 401, 403, 404, 422, 429, 503))


async def _chain(session: AsyncSession, organization_id: str) -> dict[str, int]:
    rows = await session.execute(
        select(EscalationStepRow.user_id, EscalationStepRow.level)
        .where(EscalationStepRow.organization_id == organization_id)
        .order_by(EscalationStepRow.level, EscalationStepRow.user_id)
    )
    return {user_id: level for user_id, level in rows}  # noqa: C416 - mypy does not see rows as pairs


def _view(chain: dict[str, int]) -> EscalationChain:
    """Levels without contacts are left out, so later levels move up in the view."""
    levels: defaultdict[int, list[str]] = defaultdict(list)
    for user_id, level in chain.items():
        levels[level].append(plain(user_id))
    return EscalationChain(levels=[levels[level] for level in sorted(levels)])


def _version(chain: dict[str, int]) -> str:
    return hashlib.sha256(json.dumps(chain).encode()).hexdigest()[:16]


async def _replace(session: AsyncSession, organization_id: str, wanted: dict[str, int]) -> None:
    """Give the organization exactly this chain; a place that stays counts as no change in the audit trail."""
    steps = EscalationStepRow
    others = delete(steps).where(steps.organization_id == organization_id, steps.user_id.not_in(list(wanted)))
    await session.execute(others)
    if wanted:
        rows = [
            {"user_id": user_id, "organization_id": organization_id, "level": level}
            for user_id, level in wanted.items()
        ]
        put = insert(steps).values(rows)
        await session.execute(put.on_conflict_do_update(index_elements=["user_id"], set_={"level": put.excluded.level}))


@router.get(
    "/v1/escalation",
    response_model=EscalationChain,
    responses=entity_tags.tagged(200, 304),
    openapi_extra=entity_tags.CACHED,
)
async def get_escalation(caller: Reader, services: Used, request: Request) -> Response:
    """The organization's chain."""
    async with services.transaction() as session:
        chain = await _chain(session, caller.organization_id)
    return entity_tags.answer(request, _view(chain), _version(chain))


@router.put(
    "/v1/escalation",
    response_model=EscalationChain,
    responses={**entity_tags.tagged(), **entity_tags.guarded()},
    openapi_extra=entity_tags.GUARDED,
)
async def replace_escalation(body: EscalationChain, caller: Configurer, services: Used, request: Request) -> Response:
    """Replace the chain. Open alerts use the new one from their next reminder on."""
    wanted = {caller.qualified(user_id): number for number, level in enumerate(body.levels, 1) for user_id in level}
    async with services.transaction() as session:
        await organization_of(session, caller.organization_id, lock=True)
        before = await _chain(session, caller.organization_id)
        entity_tags.must_match(request, _version(before))
        mine = select(ContactRow.user_id).where(
            ContactRow.organization_id == caller.organization_id, ContactRow.user_id.in_(list(wanted))
        )
        known = set(await session.scalars(mine.with_for_update(key_share=True)))
        for number, level in enumerate(body.levels):
            for place, user_id in enumerate(level):
                if caller.qualified(user_id) not in known:
                    raise invalid(f"/levels/{number}/{place}", f"there is no contact {user_id}")
        await _replace(session, caller.organization_id, wanted)
        moved = {
            user_id for user_id in before.keys() | wanted.keys() if before.get(user_id, 1) != wanted.get(user_id, 1)
        }
        if moved:
            await publish_contacts(session, moved)
        after = await _chain(session, caller.organization_id)
    return entity_tags.answer(request, _view(after), _version(after))
