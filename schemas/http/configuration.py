"""What the API takes and gives, apart from readings (`api.submissions`): strict shapes, unknown fields are refused."""

from datetime import UTC, datetime
from typing import Annotated, Generic, Self, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    model_validator,
)

from schemas.messages import Cadence, Limit, Severity
from schemas.roles import Role

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$"
# No control characters: they have no place in names, and PostgreSQL cannot store NUL.
LINE_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]+$"
INT4 = 2_147_483_647

T = TypeVar("T")


def _in_database_range(at: datetime) -> datetime:
    if not 2000 <= at.year < 9000:
        raise ValueError(f"the year {at.year} is outside of 2000 to 8999")
    return at.astimezone(UTC)


Id = Annotated[str, Field(pattern=ID_PATTERN, examples=["freezer-1"], description="Letters, digits, . _ : -")]
Line = Annotated[str, Field(min_length=1, max_length=200, pattern=LINE_PATTERN)]
Instant = Annotated[
    AwareDatetime,
    AfterValidator(_in_database_range),
    PlainSerializer(lambda at: at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")),
    Field(
        json_schema_extra={"type": "string", "format": "date-time", "pattern": "^[2-8][0-9]{3}-"},
        examples=["2026-03-01T12:00:00.000Z"],
    ),
]
RuleCelsius = Annotated[float, Field(strict=True, ge=-100, le=150, allow_inf_nan=False, examples=[8.0])]
DisplayUnit = Annotated[str, Field(pattern="^[CF]$", description="Temperatures are shown in °C or °F")]
Seconds = Annotated[int, Field(strict=True, ge=1, le=31_536_000)]
Phone = Annotated[str, Field(pattern=r"^\+[1-9]\d{1,14}$", examples=["+12025550101"])]
Email = Annotated[
    str,
    Field(
        max_length=254, pattern=r"^[^@\s\x00-\x1f\x7f-\x9f]+@[^@\s\x00-\x1f\x7f-\x9f.]+(\.[^@\s\x00-\x1f\x7f-\x9f.]+)+$"
    ),
]


class Shape(BaseModel):
    """A body of a request or an answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Page(Shape, Generic[T]):
    """Some of a list; `next_cursor` asks for what follows, null at the end."""

    items: list[T]
    next_cursor: str | None = None


class InvalidPart(Shape):
    """Where in a request something is wrong (a JSON pointer into the body, or a parameter's name), and what."""

    pointer: str
    detail: str


class ProblemBody(BaseModel):
    """An error as RFC 9457 describes it."""

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, Field(examples=["urn:freshtrack:not-found"])]
    title: Annotated[str, Field(examples=["Not found"])]
    status: Annotated[int, Field(strict=True, ge=400, le=599, examples=[404])]
    detail: Annotated[str, Field(examples=["There is no unit freezer-9."])]
    errors: list[InvalidPart] | None = None


class OrganizationBody(Shape):
    name: Annotated[Line, Field(examples=["Acme Foods"])]
    display_unit: DisplayUnit = "C"


class OrganizationView(OrganizationBody):
    organization_id: Id
    max_units: int | None
    max_contacts: int | None
    sms_per_hour: int | None


Limitation = Annotated[int, Field(strict=True, ge=0, le=INT4)]


class OrganizationTerms(OrganizationBody):
    """What only the operator of the installation may set; null is no limit."""

    max_units: Limitation | None = None
    max_contacts: Limitation | None = None
    sms_per_hour: Annotated[int, Field(strict=True, ge=1, le=INT4)] | None = None


class RuleBody(Shape):
    """A threshold. Exactly at the limit is within it; `clear_c` lies on the good side of the limit."""

    limit: Limit
    severity: Severity
    limit_c: RuleCelsius
    clear_c: RuleCelsius | None = None
    confirm_s: Annotated[int, Field(strict=True, ge=0, le=604_800)] = 0
    recover_readings: Annotated[int, Field(strict=True, ge=1, le=1_000)] = 1

    @model_validator(mode="after")
    def _clears_on_the_good_side(self) -> Self:
        if self.clear_c is None:
            return self
        good = self.clear_c <= self.limit_c if self.limit is Limit.HIGH else self.clear_c >= self.limit_c
        if not good:
            side = "at or below" if self.limit is Limit.HIGH else "at or above"
            raise ValueError(f"clear_c {self.clear_c} must be {side} limit_c {self.limit_c}")
        return self


class RuleView(RuleBody):
    rule_id: Id


class UnitBody(Shape):
    name: Annotated[Line, Field(examples=["Walk-in freezer"])]
    gateway_id: Id | None = None
    device_id: Id | None = Field(
        None, description="The sensor's name in its vendor's network; the unit's own id when null. Unique in yours."
    )
    expected_interval_s: Seconds = 300
    offline_after_missed: Annotated[int, Field(strict=True, ge=1, le=1_000)] = 3
    live_window_s: Seconds = 900
    rules: Annotated[list[RuleView], Field(max_length=50)] = []

    @model_validator(mode="after")
    def _rule_ids_differ(self) -> Self:
        ids = [rule.rule_id for rule in self.rules]
        if len(set(ids)) < len(ids):
            raise ValueError("two rules have the same rule_id")
        return self


class NewUnit(UnitBody):
    unit_id: Id | None = Field(None, description="Chosen by us when null; once chosen it cannot change")


class UnitView(UnitBody):
    unit_id: Id
    created_at: Instant


class MaintenanceBody(Shape):
    """A time in which nobody is paged for the unit; start included, end not."""

    starts_at: Instant
    ends_at: Instant
    reason: Annotated[Line, Field(examples=["Defrost"])]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.ends_at <= self.starts_at:
            raise ValueError("ends_at must be later than starts_at")
        return self


class MaintenanceView(MaintenanceBody):
    window_id: Id
    unit_id: Id
    created_at: Instant


class ContactBody(Shape):
    name: Annotated[Line, Field(examples=["Ann"])]
    phone_e164: Phone | None = None
    email: Email | None = None
    minimum_severity: Severity = Severity.WARNING
    on_duty: StrictBool = True


class NewContact(ContactBody):
    user_id: Id | None = Field(None, description="Chosen by us when null")


class ContactView(Shape):
    """In lists, and for members, numbers and addresses are masked."""

    user_id: Id
    name: str
    phone_e164: Annotated[str | None, Field(examples=["+1202•••0101"])]
    email: Annotated[str | None, Field(examples=["a•••@example.com"])]
    minimum_severity: Severity
    on_duty: bool
    escalation_level: int
    sms_opted_out: bool
    created_at: Instant


class EscalationChain(Shape):
    """Who is told at level 1, 2, and so on; whoever is not named is at level 1."""

    levels: Annotated[
        list[Annotated[list[Id], Field(min_length=1, max_length=1_000)]],
        Field(max_length=20, examples=[[["ann"], ["bob", "eve"]]]),
    ]

    @model_validator(mode="after")
    def _each_user_once(self) -> Self:
        named = [user for level in self.levels for user in level]
        if len(set(named)) < len(named):
            raise ValueError("a user may stand at one level only")
        return self


class DigestPreferenceBody(Shape):
    """`hour` is local; null takes the usual one: daily 7, weekly 9 (Monday), monthly 8 (the 1st).

    No cadence is left when a user unsubscribed from each.
    """

    cadences: Annotated[list[Cadence], Field(max_length=3)] = [Cadence.DAILY]
    timezone: Annotated[str, Field(max_length=64, examples=["America/New_York"])] = "UTC"
    hour: Annotated[int, Field(strict=True, ge=0, le=23)] | None = None
    display_unit: DisplayUnit = "C"
    paused: StrictBool = False


class NewDigestPreference(DigestPreferenceBody):
    user_id: Id


class NextRun(Shape):
    """When a summary is due: the instant, and what clocks show there then."""

    cadence: Cadence
    at: Instant
    local_time: Annotated[str, Field(examples=["2026-03-02T07:00:00-05:00"])]


class DigestPreferenceView(DigestPreferenceBody):
    user_id: Id
    next_runs: Annotated[list[NextRun], Field(description="Empty while paused")]
    created_at: Instant


class NewKey(Shape):
    name: Annotated[Line, Field(examples=["Gateway, warehouse 2"])]
    role: Role
    expires_at: Instant | None = None


class KeyView(NewKey):
    key_id: str
    created_at: Instant
    revoked_at: Instant | None


class MadeKey(KeyView):
    """The only time that the key is shown."""

    key: Annotated[str, Field(examples=["ft.0123456789abcdef.…"])]
