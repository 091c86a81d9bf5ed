"""Charts as PNG, drawn with Pillow: 20 ms and 10 KB each, without a plotting library's 100 MB of memory.

A chart is drawn once for all recipients of a digest in one unit of temperature. It contains figures and times only;
a unit's name stands beside it in the mail, because the built-in typeface has Latin characters only.
Charts are drawn at double size on white, so that they are sharp on dense displays and readable in dark mode.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from domain.detection.aggregate_numbers import BUCKET_MS
from domain.digest.schedule import first_moment, zone
from domain.temperatures import in_unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from domain.digest.facts import Curve, Day
    from domain.digest.schedule import Period

WIDTH, HEIGHT = 1120, 340
LEFT, RIGHT, TOP, BOTTOM = 116, 48, 24, 58
# On a phone a chart is a third as wide as it is drawn: smaller figures could not be read there.
FIGURES = 31
GROUND = "#ffffff"
GRID = "#e4e9ef"
INK = "#51606f"
BAND = "#bcd7f2"
LINE = "#1d68b3"
LIMIT = "#d0342c"
SILENCE = "#eef1f4"

HOUR_MS = 3_600_000


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


class _Canvas:
    """A white ground with room for axes; `x` and `y` turn values into pixels."""

    def __init__(self, x_from: float, x_to: float, y_from: float, y_to: float) -> None:
        self.image = Image.new("RGB", (WIDTH, HEIGHT), GROUND)
        self.draw = ImageDraw.Draw(self.image)
        self._x_from, self._x_scale = x_from, (WIDTH - LEFT - RIGHT) / (x_to - x_from)
        self._y_from, self._y_scale = y_from, (HEIGHT - TOP - BOTTOM) / (y_to - y_from)

    def x(self, value: float) -> float:
        return LEFT + (value - self._x_from) * self._x_scale

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self._y_from) * self._y_scale

    def horizontal(self, value: float, label: str) -> None:
        y = self.y(value)
        self.draw.line((LEFT, y, WIDTH - RIGHT, y), fill=GRID, width=2)
        self.draw.text((LEFT - 10, y), label, fill=INK, font=_font(FIGURES), anchor="rm")

    def below(self, value: float, label: str) -> None:
        self.draw.text((self.x(value), HEIGHT - BOTTOM + 10), label, fill=INK, font=_font(FIGURES), anchor="ma")

    def png(self) -> bytes:
        out = BytesIO()
        # 64 colours suffice for lines and take a third of the bytes.
        self.image.quantize(64).save(out, "PNG", optimize=True)
        return out.getvalue()


def curve_png(curve: Curve, period: Period, display_unit: str) -> bytes:
    """A unit's temperature: the mean as a line, minimum to maximum as a band, limits dashed, silence grey."""

    def shown(celsius: float) -> float:
        return in_unit(celsius, display_unit)

    points = [
        (point.at_ms, shown(point.min_c), shown(point.mean_c), shown(point.max_c))
        for point in curve.points
        if point.min_c is not None and point.mean_c is not None and point.max_c is not None
    ]
    limits = [shown(limit) for limit in (curve.low_c, curve.high_c) if limit is not None]
    values = [value for _, low, _, high in points for value in (low, high)] + limits or [0.0, 10.0]
    step = _step(max(values) - min(values))
    bottom, top = step * ((min(values) - step / 4) // step), -step * ((-max(values) - step / 4) // step)
    canvas = _Canvas(period.starts_at_ms, period.ends_at_ms, bottom, top)
    canvas.draw.rectangle((LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM), fill=SILENCE)
    runs = list(_runs(points))
    for run in runs:
        box = (canvas.x(run[0][0]), TOP, canvas.x(run[-1][0] + BUCKET_MS), HEIGHT - BOTTOM)
        canvas.draw.rectangle(box, fill=GROUND)
    level = bottom
    while level <= top + step / 2:
        canvas.horizontal(level, f"{level + 0.0:g}°")
        level += step
    for at_ms, label in _ticks(period):
        canvas.draw.line((canvas.x(at_ms), TOP, canvas.x(at_ms), HEIGHT - BOTTOM), fill=GRID, width=2)
        canvas.below(at_ms, label)
    for run in runs:
        _draw_run(canvas, run, width=4 if len(points) < 200 else 2)
    for limit in limits:
        _dashed(canvas, limit)
    return canvas.png()


def _draw_run(canvas: _Canvas, run: Sequence[tuple[int, float, float, float]], width: int) -> None:
    middle = BUCKET_MS // 2
    low = [(canvas.x(at + middle), canvas.y(value)) for at, value, _, _ in run]
    high = [(canvas.x(at + middle), canvas.y(value)) for at, _, _, value in run]
    mean = [(canvas.x(at + middle), canvas.y(value)) for at, _, value, _ in run]
    if len(run) == 1:
        x, y = mean[0]
        canvas.draw.line((low[0], high[0]), fill=BAND, width=6)
        canvas.draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=LINE)
        return
    canvas.draw.polygon([*low, *reversed(high)], fill=BAND)
    canvas.draw.line(mean, fill=LINE, width=width, joint="curve")


def days_png(days: Sequence[Day], period: Period) -> bytes:
    """Minutes out of range of all units together, a bar a day, with the number of alerts above it."""
    dates = [period.first + timedelta(days=number) for number in range((period.until - period.first).days)]
    minutes = {day.on: day.out_ms / 60_000 for day in days}
    alerts = {day.on: day.alerts for day in days}
    most = max([*minutes.values(), 10.0])
    step = _step(most)
    top = step * (most // step + 1)
    canvas = _Canvas(0, len(dates), 0, top)
    every = 2 if len(dates) <= 31 else 14
    level = 0.0
    while level <= top:
        canvas.horizontal(level, _minutes(level))
        level += step
    for number, on in enumerate(dates):
        height = minutes.get(on, 0.0)
        if height:
            canvas.draw.rectangle(
                (canvas.x(number + 0.18), canvas.y(height), canvas.x(number + 0.82), canvas.y(0)), fill=LINE
            )
        if alerts.get(on):
            place = (canvas.x(number + 0.5), canvas.y(height) - 4)
            canvas.draw.text(place, str(alerts[on]), fill=LIMIT, font=_font(28), anchor="md")
        if number % every == 0:
            canvas.below(number + 0.5, str(on.day) if len(dates) <= 31 else f"{on:%-d %b}")
    return canvas.png()


def _minutes(minutes: float) -> str:
    return f"{minutes:.0f} m" if minutes < 120 else f"{minutes / 60:g} h"


def _step(span: float) -> float:
    """A round distance that gives 3 to 6 grid lines."""
    step = 0.5
    for factor in (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3000.0, 6000.0, 12000.0):
        if span / step <= 4.5:
            break
        step = factor
    return step


def _runs(points: Sequence[tuple[int, float, float, float]]) -> Iterator[list[tuple[int, float, float, float]]]:
    """Groups of points in neighbouring buckets."""
    run: list[tuple[int, float, float, float]] = []
    for point in points:
        # Units that measure every 15 minutes or less often leave single buckets empty.
        if run and point[0] - run[-1][0] > 2 * BUCKET_MS:
            yield run
            run = []
        run.append(point)
    if run:
        yield run


def _ticks(period: Period) -> Iterator[tuple[int, str]]:
    """Local hours of a day, or local dates of a week."""
    place = zone(period.timezone)
    days = (period.until - period.first).days
    if days <= 2:
        for hour in range(0, 25, 3):
            on = period.first if hour < 24 else period.until
            yield int(first_moment(on, time(hour % 24), period.timezone).timestamp()) * 1000, f"{hour:02}:00"
        return
    at_ms = period.starts_at_ms
    while at_ms < period.ends_at_ms:
        yield at_ms, f"{datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(place):%a %-d}"
        on = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(place).date() + timedelta(days=1)
        at_ms = int(first_moment(on, time(0), period.timezone).timestamp()) * 1000


def _dashed(canvas: _Canvas, value: float) -> None:
    y = canvas.y(value)
    for x in range(LEFT, WIDTH - RIGHT, 20):
        canvas.draw.line((x, y, min(x + 12, WIDTH - RIGHT), y), fill=LIMIT, width=3)
