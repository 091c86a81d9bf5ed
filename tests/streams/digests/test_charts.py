"""Charts of odd data: nothing, one point, a gap, days of other lengths."""

from io import BytesIO

import pytest
from PIL import Image

from domain.digest.facts import Curve, Day, Point
from schemas import messages as m
from streams.digests.report.charts import LINE, curve_png, days_png
from tests.streams.digests.mail_samples import period

DAY = period(m.Cadence.DAILY)
QUARTER = 900_000


def _point(number: int, celsius: float = 3.0) -> Point:
    return Point(DAY.starts_at_ms + number * QUARTER, celsius - 0.5, celsius, celsius + 0.5)


def _opened(png: bytes) -> Image.Image:
    with Image.open(BytesIO(png)) as picture:
        return picture.convert("RGB")


def _has_line(png: bytes) -> bool:
    wanted = tuple(int(LINE[n : n + 2], 16) for n in (1, 3, 5))
    picture = _opened(png)
    return any(
        all(abs(one - other) < 12 for one, other in zip(color, wanted, strict=True))
        for _, color in picture.getcolors(1 << 20) or ()
        if isinstance(color, tuple)
    )


@pytest.mark.parametrize(
    ("points", "drawn"),
    [
        ((), False),
        ((Point(DAY.starts_at_ms, None, None, None),), False),
        ((_point(0),), True),
        (tuple(_point(n) for n in range(100)), True),
        ((_point(1), _point(2), _point(50), _point(51)), True),
        ((_point(1, -196.0), _point(2, 80.0)), True),
    ],
)
@pytest.mark.parametrize("limits", [(None, None), (5.0, None), (5.0, 1.0)])
def test_a_curve_of_whatever_there_is(
    points: tuple[Point, ...], drawn: bool, limits: tuple[float | None, float | None]
) -> None:
    png = curve_png(Curve("u", "Fridge", *limits, points), DAY, "F")
    assert _opened(png).size == (1120, 340)
    assert _has_line(png) is drawn


def test_a_month_without_a_day_is_an_empty_chart() -> None:
    month = period(m.Cadence.MONTHLY)
    assert not _has_line(days_png([], month))
    assert _has_line(days_png([Day(month.first, 10, 90 * 60_000, 100, 2)], month))
    assert _has_line(days_png([Day(month.first, 10, 90_000 * 60_000, 100, 200)], month))


@pytest.mark.parametrize("display_unit", ["C", "F"])
def test_the_same_curve_is_the_same_picture(display_unit: str) -> None:
    curve = Curve("u", "Fridge", 5.0, 1.0, tuple(_point(n) for n in range(96)))
    assert curve_png(curve, DAY, display_unit) == curve_png(curve, DAY, display_unit)
