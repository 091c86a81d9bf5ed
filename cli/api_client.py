"""How commands reach the API of a running system: address, key, patience, and errors in words."""

from __future__ import annotations

import os
import time
import uuid
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpx

PATIENCE_S = 30.0
PAGE = 200
ORGANIZATION_HEADER = "FreshTrack-Organization"
LATER = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
WAYS_OUT = {
    HTTPStatus.UNAUTHORIZED: "; make one with `freshtrack key create --role admin`, set FRESHTRACK_API_KEY",
    HTTPStatus.FORBIDDEN: "; making organizations takes `freshtrack key create --role admin` without one",
}
Url = Annotated[str, typer.Option("--url", envvar="FRESHTRACK_API_URL", help="where the API is")]
DEFAULT_URL = "http://127.0.0.1:8080"


class ApiError(Exception):
    """The API cannot be asked, or refuses; the message says why and what to do."""


@contextmanager
def api_client(url: str, organization: str | None = None) -> Iterator[httpx.Client]:
    """A client with the key of the environment; `organization` is for keys that are for all. Raises ApiError."""
    import httpx

    headers = {"Authorization": f"Bearer {_key()}"}
    if organization is not None:
        headers[ORGANIZATION_HEADER] = organization
    with httpx.Client(base_url=url, headers=headers, timeout=PATIENCE_S, trust_env=False) as client:
        yield client


@contextmanager
def reported() -> Iterator[None]:
    """An ApiError ends the command with its message."""
    try:
        yield
    except ApiError as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(1) from None


def answer(
    client: httpx.Client,
    method: str,
    path: str,
    *,
    body: Mapping[str, Any] | None = None,
    query: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    """The API's answer. A busy API is asked again for half a minute. Raises ApiError if it does not answer."""
    import httpx

    # A request whose answer is lost must not take effect twice.
    once = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            found = client.request(method, path, json=body, params=query, headers={**(headers or {}), **once})
        except httpx.TransportError as error:
            raise ApiError(
                f"{client.base_url} does not answer ({type(error).__name__}: {error}); start it with"
                " `freshtrack api`, or set FRESHTRACK_API_URL to its address"
            ) from error
        if found.status_code not in LATER or time.monotonic() > until:
            return found
        time.sleep(min(float(found.headers.get("Retry-After", "1")), PATIENCE_S))


def document(found: httpx.Response) -> dict[str, Any]:
    """The JSON of an answer. Raises ApiError with the API's own words if it is an error."""
    if found.is_success:
        content: dict[str, Any] = found.json()
        return content
    raise ApiError("\n".join(f"{pointer}{': ' if pointer else ''}{words}" for pointer, words in problems(found)))


def items(
    client: httpx.Client, path: str, query: Mapping[str, Any] | None = None, *, limit: int | None = None
) -> Iterator[dict[str, Any]]:
    """The items of a list, page after page, up to `limit`. Raises ApiError."""
    cursor: dict[str, str] = {}
    while limit is None or limit > 0:
        size = PAGE if limit is None else min(limit, PAGE)
        page = document(answer(client, "GET", path, query={**(query or {}), "limit": size} | cursor))
        yield from page["items"]
        limit = None if limit is None else limit - len(page["items"])
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}


def problems(found: httpx.Response) -> list[tuple[str, str]]:
    """What the API objects to: JSON pointers into the request (empty: all of it) and a sentence each."""
    problem = found.json() if "json" in found.headers.get("Content-Type", "") else {}
    way_out = WAYS_OUT.get(HTTPStatus(found.status_code), "")
    parts = [(part["pointer"], part["detail"]) for part in problem.get("errors") or ()]
    parts = parts or [("", problem.get("detail") or found.text[:200])]
    return [(pointer, f"{detail}{way_out} ({found.status_code})") for pointer, detail in parts]


def _key() -> str:
    if key := os.environ.get("FRESHTRACK_API_KEY"):
        return key
    if path := os.environ.get("FRESHTRACK_API_KEY_FILE"):
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ApiError(f"FRESHTRACK_API_KEY_FILE {path} cannot be read: {error}") from error
    raise ApiError(
        "Set FRESHTRACK_API_KEY to a key of `freshtrack key create`, or FRESHTRACK_API_KEY_FILE to its file."
    )
