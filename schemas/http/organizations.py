"""Organizations, and the terms that the operator sets."""

from typing import Annotated

from pydantic import Field

from schemas.http.fields import INT4, DisplayUnit, Id, Line, PlainId, Shape


class OrganizationBody(Shape):
    name: Annotated[Line, Field(examples=["Acme Foods"])]
    display_unit: DisplayUnit = "C"
    timezone: Annotated[
        str, Field(max_length=64, examples=["America/New_York"], description="Of dates without a time in queries")
    ] = "UTC"
    escalation_wait_s: Annotated[
        int | None,
        Field(strict=True, ge=1, le=86_400, description="Without an answer, until the next level; null: the default"),
    ] = None
    fallback_user_id: Annotated[
        Id | None, Field(description="The contact who is paged when nobody else is left, on duty or not")
    ] = None


class OrganizationView(OrganizationBody):
    fallback_user_id: PlainId | None = None
    organization_id: Id
    max_units: int | None
    max_contacts: int | None
    sms_per_hour: int | None
    readings_per_s: int | None


Limitation = Annotated[int, Field(strict=True, ge=0, le=INT4)]


class OrganizationTerms(OrganizationBody):
    """What only the operator of the installation may set; null means no limit."""

    max_units: Limitation | None = None
    max_contacts: Limitation | None = None
    sms_per_hour: Annotated[int, Field(strict=True, ge=1, le=INT4)] | None = None
    readings_per_s: Annotated[
        Annotated[int, Field(strict=True, ge=1, le=INT4)] | None,
        Field(description="By HTTP, in each process of the API; ten seconds' worth may come at once"),
    ] = None
