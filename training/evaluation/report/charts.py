"""Draws charts as inline SVG: dots with intervals, histograms, box plots.

Shapes, patterns and written numbers repeat what colours express, for print and for colour-blind readers.
Colours are CSS classes (`s0` to `s7`, `negative`, `positive`), so that the page can have a dark mode.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from training.evaluation.statistics import Interval, Spread

SERIES = 8
"""Number of colours and shapes; a ninth run reuses the first, and its label distinguishes it."""
_WIDTH, _LEFT, _RIGHT = 740.0, 170.0, 180.0
_ROW, _HEADING, _AXIS, _TOP = 22.0, 24.0, 34.0, 6.0
_LETTERS = 24
"""Longest label of a row; the tooltip has the full label."""

# Paths around (0, 0), about ten units wide: circle, square, triangle, diamond, plus, another triangle,
# hourglass, cross.
_SHAPES = (
    "M-5 0A5 5 0 1 0 5 0A5 5 0 1 0 -5 0Z",
    "M-4.5 -4.5H4.5V4.5H-4.5Z",
    "M0 -5.5L5.5 4.5H-5.5Z",
    "M0 -6L6 0L0 6L-6 0Z",
    "M-2 -6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",
    "M0 5.5L5.5 -4.5H-5.5Z",
    "M-5.5 -5L5.5 5V-5L-5.5 5Z",
    "M0 -2.5L3 -5.5L5.5 -3L2.5 0L5.5 3L3 5.5L0 2.5L-3 5.5L-5.5 3L-2.5 0L-5.5 -3L-3 -5.5Z",
)

_PATH = Markup('<path d="{}" class="{}"></path>')
_TEXT = Markup('<text x="{}" y="{}" class="{}">{}</text>')


@dataclass(frozen=True)
class Dot:
    """A value with its interval. `note` follows the value."""

    label: str
    value: float
    interval: Interval | None
    note: str
    series: int


@dataclass(frozen=True)
class Box:
    """A distribution, with whiskers at the 10th and 90th percentiles."""

    label: str
    spread: Spread
    note: str
    series: int


@dataclass(frozen=True)
class Bar:
    label: str
    count: int
    kind: str = "s0"
    """CSS class of the bar."""


def dots(groups: Sequence[tuple[str, Sequence[Dot]]], title: str) -> Markup:
    """Draw a row for each dot, under the headings of the groups."""
    rows = [dot for _, group in groups for dot in group]
    ends = [end for dot in rows for end in (dot.value, *(dot.interval or ()))]
    ticks = _ticks(min(ends, default=0.0), max(ends, default=1.0))
    y, drawn = _TOP, []
    for heading, group in groups:
        if heading:
            drawn.append(_text(0, y + 16, heading, "heading"))
            y += _HEADING
        for dot in group:
            drawn.append(_dot(dot, y + _ROW / 2, ticks))
            y += _ROW
    return _chart([_axis(ticks, y), *drawn], y + _AXIS, title)


def boxes(rows: Sequence[Box], title: str, unit: str) -> Markup:
    """Draw a row for each box, on an axis from zero to the end of the longest whisker."""
    ticks = _ticks(0.0, max((row.spread.p90 for row in rows), default=1.0))
    drawn = [_box(row, _TOP + (index + 0.5) * (_ROW + 4), ticks) for index, row in enumerate(rows)]
    bottom = _TOP + len(rows) * (_ROW + 4)
    return _chart([_axis(ticks, bottom, unit), *drawn], bottom + _AXIS + 12, title)


def histogram(bars: Sequence[Bar], title: str, axis: str) -> Markup:
    """Draw vertical bars with their counts above them. `axis` is the label of the horizontal axis."""
    width, height, left = 460.0, 170.0, 8.0
    step = (width - 2 * left) / max(len(bars), 1)
    most = max((bar.count for bar in bars), default=0) or 1
    skip = math.ceil(len(bars) * 34 / (width - 2 * left))
    drawn = []
    for index, bar in enumerate(bars):
        tall = (height - 60) * bar.count / most
        x, middle = left + index * step, left + (index + 0.5) * step
        drawn.append(
            Markup(
                '<rect x="{}" y="{}" width="{}" height="{}" class="bar {}"><title>{}: {}</title></rect>'
            ).format(
                _cut(x + step * 0.08),
                _cut(height - 36 - tall),
                _cut(step * 0.84),
                _cut(tall),
                bar.kind,
                bar.label,
                bar.count,
            )
        )
        if bar.count:
            drawn.append(_text(middle, height - 40 - tall, str(bar.count), "number middle"))
        # Counted from the middle, so that the zero bar of a histogram of differences has a label.
        if (index - len(bars) // 2) % skip == 0:
            drawn.append(_text(middle, height - 22, bar.label, "tick middle"))
    ground = _PATH.format(f"M{left:g} {height - 36:g}H{width - left:g}", "axis")
    return _chart([*drawn, ground, _text(width / 2, height - 5, axis, "tick middle")], height, title, width)


def mark(series: int) -> Markup:
    """Draw the shape of a series at the size of a line of text."""
    shape = _PATH.format(_SHAPES[series % SERIES], f"mark s{series % SERIES}")
    return Markup('<svg viewBox="-7 -7 14 14" class="key" aria-hidden="true">{}</svg>').format(shape)


def _dot(dot: Dot, y: float, ticks: Sequence[float]) -> Markup:
    x, colour = _across(dot.value, ticks), f"s{dot.series % SERIES}"
    parts = [_title(f"{dot.label}: {dot.value:.4f} {dot.note}"), _label(dot.label, y)]
    if dot.interval:
        low, high = (_across(end, ticks) for end in dot.interval)
        d = f"M{low:.2f} {y:g}H{high:.2f}M{low:.2f} {y - 4:g}V{y + 4:g}M{high:.2f} {y - 4:g}V{y + 4:g}"
        parts.append(_PATH.format(d, f"whisker {colour}"))
    shape = Markup('<path d="{}" transform="translate({:.2f} {:g})" class="mark {}"></path>')
    parts.append(shape.format(_SHAPES[dot.series % SERIES], x, y, colour))
    parts.append(_text(_WIDTH - _RIGHT + 14, y + 4, f"{dot.value:.4f}", "number"))
    parts.append(_text(_WIDTH - _RIGHT + 64, y + 4, dot.note, "tick"))
    return _group(parts)


def _box(row: Box, y: float, ticks: Sequence[float]) -> Markup:
    spread, colour = row.spread, f"s{row.series % SERIES}"
    low, first, middle, third, high = (
        _across(value, ticks) for value in (spread.p10, spread.p25, spread.median, spread.p75, spread.p90)
    )
    whiskers = f"M{low:.2f} {y:g}H{first:.2f}M{third:.2f} {y:g}H{high:.2f}"
    ends = f"M{low:.2f} {y - 4:g}V{y + 4:g}M{high:.2f} {y - 4:g}V{y + 4:g}"
    box = Markup('<rect x="{}" y="{}" width="{}" height="14" class="box {}"></rect>')
    return _group(
        [
            _title(f"{row.label}: {row.note}"),
            _label(row.label, y),
            _PATH.format(whiskers + ends, f"whisker {colour}"),
            box.format(_cut(first), _cut(y - 7), _cut(max(third - first, 1.0)), colour),
            _PATH.format(f"M{middle:.2f} {y - 9:g}V{y + 9:g}", "median"),
            _text(_WIDTH - _RIGHT + 14, y + 4, row.note, "tick"),
        ]
    )


def _axis(ticks: Sequence[float], bottom: float, unit: str = "") -> Markup:
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    grid = "".join(f"M{_across(tick, ticks):.2f} {_TOP:g}V{bottom:g}" for tick in ticks)
    labels = [_text(_across(t, ticks), bottom + 16, f"{t:,.{digits}f}", "tick middle") for t in ticks]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    caption = [_text(middle, bottom + 34, unit, "tick middle")] if unit else []
    return Markup("").join([_PATH.format(grid, "grid"), *labels, *caption])


def _ticks(low: float, high: float) -> list[float]:
    """Choose four to eight round numbers from below `low` to above `high`."""
    wide = max(high - low, 1e-3)
    rough = wide / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _across(value: float, ticks: Sequence[float]) -> float:
    share = (value - ticks[0]) / (ticks[-1] - ticks[0])
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _label(label: str, y: float) -> Markup:
    short = label if len(label) <= _LETTERS else label[: _LETTERS - 1] + "…"
    return _text(_LEFT - 12, y + 4, short, "end")


def _text(x: float, y: float, text: str, kind: str) -> Markup:
    return _TEXT.format(_cut(x), _cut(y), kind, text)


def _title(text: str) -> Markup:
    return Markup("<title>{}</title>").format(text)


def _group(parts: Sequence[Markup]) -> Markup:
    return Markup("<g>{}</g>").format(Markup("").join(parts))


def _cut(value: float) -> str:
    """Format with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _chart(parts: Sequence[Markup], height: float, title: str, width: float = _WIDTH) -> Markup:
    return Markup(
        '<div class="scroll"><svg viewBox="0 0 {width:g} {height:g}" class="chart" role="img" '
        'aria-label="{title}" style="width:{width:g}px"><title>{title}</title>{parts}</svg></div>'
    ).format(width=width, height=height, title=title, parts=Markup("").join(parts))
