"""Brings what a seed file says into a running system, through its HTTP interface, and changes nothing a second time.

What is there already and the same is left alone; what differs is replaced; what the file does not name stays.
"""

from __future__ import annotations

from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from cli.api_client import ORGANIZATION_HEADER, answer, problems
from cli.seed.seed_file import Lines, SeedError
from schemas.http.contacts import ContactBody
from schemas.http.digest_preferences import DigestPreferenceBody
from schemas.http.maintenance import MaintenanceBody
from schemas.http.organizations import OrganizationTerms
from schemas.http.units import UnitBody
from schemas.messages import Cadence

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from pydantic import BaseModel

    from cli.seed.seed_file import Place, SeedContact, SeedFile, SeedOrganization, SeedUnit


class Done(NamedTuple):
    """How many things of a kind were made, changed, and found as they should be."""

    kind: str
    made: int
    changed: int
    same: int

    def __str__(self) -> str:
        return f"{self.kind:22} {self.made} made, {self.changed} changed, {self.same} as they were"


def sow(client: httpx.Client, seed: SeedFile, lines: Lines) -> list[Done]:
    """Make and change what is needed. `client` has the address and the key. Raises SeedError.

    Contacts come before the chain and the digests that name them, units before their windows.
    """
    seeder = _Seeder(client, lines)
    for index, organization in enumerate(seed.organizations):
        seeder.organization(organization, ("organizations", index))
    return [Done(kind, *(seeder.counts[kind, what] for what in ("made", "changed", "same"))) for kind in seeder.kinds]


def sow_unit(client: httpx.Client, organization_id: str | None, unit: SeedUnit) -> None:
    """Make or change one unit. Raises SeedError."""
    seeder = _Seeder(client, Lines("the unit", {}))
    if organization_id is not None:
        seeder.headers = {ORGANIZATION_HEADER: organization_id}
    seeder.unit(unit, ())


class _Seeder:
    def __init__(self, client: httpx.Client, lines: Lines) -> None:
        self._client = client
        self._lines = lines
        self.headers: dict[str, str] = {}
        self.counts: Counter[tuple[str, str]] = Counter()
        self.kinds: list[str] = []

    def organization(self, wanted: SeedOrganization, place: Place) -> None:
        self.headers = {ORGANIZATION_HEADER: wanted.organization_id}
        found = self._get("/v1/organization", place)
        if found is not None and found["organization_id"] != wanted.organization_id:
            raise SeedError(
                f"{self._lines.where(place)}: the key is for {found['organization_id']}, this is"
                f" {wanted.organization_id}; use a key of it, or one for all (key create --role admin)"
            )
        terms = _part(wanted, OrganizationTerms)
        self._replace("organizations", f"/v1/organizations/{_id(wanted.organization_id)}", terms, found, place)
        # Before the contacts, whose digests may name units.
        for index, unit in enumerate(wanted.units):
            self.unit(unit, (*place, "units", index))
        for index, contact in enumerate(wanted.contacts):
            self._contact(contact, (*place, "contacts", index))
        if wanted.escalation is not None:
            levels = [sorted(level) for level in wanted.escalation]
            found = self._get("/v1/escalation", place)
            self._replace("escalation chains", "/v1/escalation", {"levels": levels}, found, (*place, "escalation"))

    def _contact(self, wanted: SeedContact, place: Place) -> None:
        name = {"user_id": wanted.user_id}
        self._make_or_replace("contacts", "/v1/contacts", name, _part(wanted, ContactBody), place)
        if wanted.digest is not None:
            body = _part(wanted.digest, DigestPreferenceBody)
            order = tuple(Cadence)
            body["cadences"] = sorted(set(body["cadences"]), key=order.index)
            self._make_or_replace("digest preferences", "/v1/digest-preferences", name, body, (*place, "digest"))

    def unit(self, wanted: SeedUnit, place: Place) -> None:
        body = _part(wanted, UnitBody)
        body["rules"].sort(key=_rule_id)
        self._make_or_replace("units", "/v1/units", {"unit_id": wanted.unit_id}, body, place)
        if not wanted.maintenance:
            return
        path = f"/v1/units/{_id(wanted.unit_id)}/maintenance-windows"
        known = [{name: window[name] for name in MaintenanceBody.model_fields} for window in self._all(path, place)]
        for index, window in enumerate(wanted.maintenance):
            body = _part(window, MaintenanceBody)
            if body in known:
                self._count("maintenance windows", "same")
            else:
                self._send("POST", path, body, (*place, "maintenance", index))
                self._count("maintenance windows", "made")

    def _make_or_replace(self, kind: str, path: str, name: dict[str, str], body: dict[str, Any], place: Place) -> None:
        [(_, identifier)] = name.items()
        found = self._get(f"{path}/{_id(identifier)}", place)
        if found is None:
            self._send("POST", path, name | body, place)
            self._count(kind, "made")
        else:
            self._replace(kind, f"{path}/{_id(identifier)}", body, found, place)

    def _replace(self, kind: str, path: str, body: dict[str, Any], found: dict[str, Any] | None, place: Place) -> None:
        if found is not None and all(found.get(field) == value for field, value in body.items()):
            self._count(kind, "same")
            return
        self._send("PUT", path, body, place)
        self._count(kind, "made" if found is None else "changed")

    def _count(self, kind: str, what: str) -> None:
        if kind not in self.kinds:
            self.kinds.append(kind)
        self.counts[kind, what] += 1

    def _get(self, path: str, place: Place) -> dict[str, Any] | None:
        answer = self._answer("GET", path)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        found = self._body(answer, place)
        # In our order: the database's may be that of a language.
        found.get("rules", []).sort(key=_rule_id)
        for level in found.get("levels", []):
            level.sort()
        return found

    def _all(self, path: str, place: Place) -> Iterator[dict[str, Any]]:
        cursor = ""
        while True:
            page = self._body(self._answer("GET", f"{path}?limit=200{cursor}"), place)
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            cursor = f"&cursor={quote(page['next_cursor'], safe='')}"

    def _send(self, method: str, path: str, body: dict[str, Any], place: Place) -> None:
        self._body(self._answer(method, path, body), place)

    def _answer(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        return answer(self._client, method, path, body=body, headers=self.headers)

    def _body(self, found: httpx.Response, place: Place) -> dict[str, Any]:
        if found.is_success:
            content: dict[str, Any] = found.json()
            return content
        raise SeedError(
            "\n".join(f"{self._lines.where((*place, *_steps(pointer)))}: {words}" for pointer, words in problems(found))
        )


def _steps(pointer: str) -> Place:
    return tuple(int(step) if step.isdigit() else step for step in pointer.split("/") if step)


def _rule_id(rule: dict[str, Any]) -> str:
    return str(rule["rule_id"])


def _id(identifier: str) -> str:
    return quote(identifier, safe="")


def _part(wanted: BaseModel, body: type[BaseModel]) -> dict[str, Any]:
    """The fields that a request has, as JSON."""
    return body.model_validate(wanted.model_dump(include=set(body.model_fields))).model_dump(mode="json")
