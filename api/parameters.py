"""Query parameters that an endpoint does not have: a filter with a typing error must not list everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute

from api.problems import invalid
from api.validation_texts import nearest

if TYPE_CHECKING:
    from starlette.requests import Request


def refuse_unknown_parameters(request: Request) -> None:
    """Raises Problem (422) with the most similar parameter of the endpoint."""
    route = request.scope.get("route")
    if not request.scope["query_string"] or not isinstance(route, APIRoute):
        return
    fields = get_flat_params(route.dependant)
    known = [field.alias for field in fields if isinstance(field.field_info, Query)]
    for name in request.query_params:
        if name not in known:
            listed = f"; this endpoint takes {', '.join(sorted(known))}" if known else "; this endpoint takes none"
            raise invalid(name[:100], f"there is no such query parameter{nearest(name, known) or listed}")
