"""Units and their rules."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.http.fields import Id, Instant, Line, PlainId, Shape
from schemas.messages import Limit, Severity
from schemas.messages.reading_bounds import COLDEST_C, LONGEST_VOUCH_MS, WARMEST_C

RuleCelsius = Annotated[float, Field(strict=True, ge=COLDEST_C, le=WARMEST_C, allow_inf_nan=False, examples=[8.0])]
MAX_RULES = 50
MAX_SILENCE_S = LONGEST_VOUCH_MS // 1000

Seconds = Annotated[int, Field(strict=True, ge=1, le=31_536_000)]


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


class UnitFields(Shape):
    """What is set of a unit besides its rules: each field is a column of `UnitRow` with the same name."""

    name: Annotated[Line, Field(examples=["Walk-in freezer"])]
    gateway_id: Id | None = None
    device_id: Id | None = Field(
        None, description="The sensor's name in its vendor's network; the unit's own id when null. Unique in yours."
    )
    expected_interval_s: Seconds = 300
    offline_after_missed: Annotated[int, Field(strict=True, ge=1, le=1_000)] = 3
    offline_delay_s: Annotated[
        int, Field(strict=True, ge=0, le=604_800, description="Further silence that is tolerated before the alert")
    ] = 0
    offline_severity: Severity = Severity.WARNING
    live_window_s: Seconds = 900


class UnitBody(UnitFields):
    rules: list[RuleView] = Field([], max_length=MAX_RULES)

    @model_validator(mode="after")
    def _is_offline_within_a_week(self) -> Self:
        silence_s = self.expected_interval_s * self.offline_after_missed
        if silence_s > MAX_SILENCE_S:
            raise ValueError(
                f"expected_interval_s times offline_after_missed is {silence_s} s; a unit must count as offline within"
                f" {MAX_SILENCE_S} s (7 days)"
            )
        return self

    @model_validator(mode="after")
    def _rule_ids_differ(self) -> Self:
        ids = [rule.rule_id for rule in self.rules]
        if len(set(ids)) < len(ids):
            raise ValueError("two rules have the same rule_id")
        return self


class NewUnit(UnitBody):
    unit_id: Id | None = Field(None, description="Chosen by us when null; once chosen it cannot change")


class UnitView(UnitFields):
    rules: list[RuleView]
    unit_id: PlainId
    created_at: Instant
