"""The report's pictures as inline SVG, drawn by hand so that they take the page's own colours, light or dark.

Text and axes are `currentColor`; an artifact's colour is the class "s0", "s1", ... that the page's style gives it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from volo_edge import plain
from volo_edge.report.contents import Outcome, Report

_WIDTH = 720
_LINE = 15  # pixels between two labels, at least
_TOP_DB = 80.0  # beyond which no class changes: what is quieter is drawn there


@dataclass(frozen=True)
class Axis:
    """From numbers to pixels.

    Args:
        low, high: the numbers at its ends.
        start, end: the pixels there.
        log: whether its scale is logarithmic.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, about: int = 6) -> list[float]:
        """Round numbers within it."""
        if self.log:
            steps = [m * 10.0**e for e in range(-3, 7) for m in (1, 1.5, 2, 3, 5, 7)]
            return [step for step in steps if self.low <= step <= self.high]
        raw = (self.high - self.low) / about
        size = 10.0 ** math.floor(math.log10(raw))
        step = next(m * size for m in (1, 2, 5, 10) if m * size >= raw)
        first = math.ceil(self.low / step - 1e-9)
        return [index * step for index in range(first, math.floor(self.high / step + 1e-9) + 1)]


def intervals(report: Report) -> str:
    """The drop of each artifact with its 95 % interval, and the gate."""
    shown = [(number, one) for number, one in enumerate(report.artifacts) if one.judged is not None]
    if not shown:
        return ""
    tops = [one.judged for _, one in shown if one.judged is not None]
    values = [0.0, *(top.low for top in tops), *(top.high for top in tops), *_gate(report)]
    margin = 0.06 * (max(values) - min(values))
    left = 24 + 6.6 * max(len(one.name) for _, one in shown)
    x = Axis(min(values) - margin, max(values) + margin, left, _WIDTH - 16)
    bottom = 24 * len(shown) + 22
    parts = _x_axis(x, 16, bottom, f"points of {report.figure} lost against the float model, with 95 % interval")
    parts.append(_line(x(0), 16, x(0), bottom, "zero"))
    for gate in _gate(report):
        parts.append(_line(x(gate), 16, x(gate), bottom, "gate"))
        parts.append(_text(x(gate), 12, f"gate {gate:g}", "middle gatetext"))
    for row, ((number, one), top) in enumerate(zip(shown, tops, strict=True)):
        y = 32 + 24 * row
        parts.append(_text(left - 10, y + 4, one.name, {True: "end good", False: "end bad", None: "end"}[one.passed]))
        parts.append(_line(x(top.low), y, x(top.high), y, f"whisker s{number % 12}"))
        title = f"{one.name}: {top.drop:+.2f} points ({top.low:+.2f} to {top.high:+.2f})"
        parts.append(_dot(x(top.drop), y, 5, number, title))
    return _svg(bottom + 36, parts, f"Drop of {report.figure} by artifact, with 95 % intervals")


def accuracy_against(report: Report, what: str, values: Sequence[float | None], unit: str) -> str:
    """Top-1 or label accuracy over what it costs: `values`, one an artifact, None where it is not known."""
    points = [
        (number, value, one.judged.file, one)
        for number, (one, value) in enumerate(zip(report.artifacts, values, strict=True))
        if one.judged is not None and value is not None
    ]
    if len(points) < 2:
        return ""
    width = _WIDTH // 2 - 10
    xs, ys = [value for _, value, _, _ in points], [top for _, _, top, _ in points]
    if report.float_model.judged is not None:
        ys.append(report.float_model.judged)
    spread = max(max(ys) - min(ys), 0.1)
    x = Axis(min(xs) / 1.25, max(xs) * 1.35, 52, width - 8, log=True)
    y = Axis(min(ys) - 0.1 * spread, max(ys) + 0.1 * spread, 220, 12)
    parts = _x_axis(x, 12, 220, f"{what}, {unit}") + _y_axis(y, 52, width - 8, f"{report.figure} %")
    if report.float_model.judged is not None:
        level = y(report.float_model.judged)
        parts.append(_line(52, level, width - 8, level, "zero"))
        parts.append(_text(56, level - 4, "float", "start small"))
    places = _apart([(x(value), y(top)) for _, value, top, _ in points])
    for (number, value, top, one), (_, label) in zip(points, places, strict=True):
        parts.append(_dot(x(value), y(top), 4.5, number, f"{one.name}: {top:.2f} %, {value:.3g} {unit}"))
        parts.append(_text(x(value) + 8, label + 4, str(number + 1), f"start small fill s{number % 12}"))
    return _svg(262, parts, f"{report.figure} against {what}", width)


def growth(report: Report) -> str:
    """The signal to noise ratio after each block, a line an artifact."""
    shown = [(number, one) for number, one in enumerate(report.artifacts) if one.growth is not None]
    if not shown:
        return ""
    names = [block.block for block in (shown[0][1].growth.blocks if shown[0][1].growth else ())]
    known = [snr for _, one in shown for snr in _snrs(one)]
    x = Axis(0, max(1, len(names) - 1), 46, _WIDTH - 40)
    y = Axis(min(0.0, *known), max(known) + 3, 250, 12)
    parts = _y_axis(y, 46, _WIDTH - 40, "SNR, dB")
    for index, name in enumerate(names):
        place = f'transform="translate({x(index):.1f} 262) rotate(40)"'
        parts.append(f'<text class="start small" {place}>{_escape(name)}</text>')
    ends = []
    for number, one in shown:
        points = [(x(i), y(snr)) for i, snr in enumerate(_snrs(one))]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        dashed = " dashed" if one.target == "coreml" else ""
        parts.append(
            f'<polyline class="line s{number % 12}{dashed}" points="{path}">'
            f"<title>{_escape(one.name)}</title></polyline>"
        )
        ends.append((_WIDTH - 40.0, points[-1][1]))
        if one.growth is not None and one.growth.worst in names:
            index = names.index(one.growth.worst)
            parts.append(_dot(*points[index], 4, number, f"{one.name}: {one.growth.worst} adds most of its own"))
    for (number, _), (left, label) in zip(shown, _apart(ends), strict=True):
        parts.append(_text(left + 5, label + 4, str(number + 1), f"start small fill s{number % 12}"))
    return _svg(340, parts, "Signal to noise ratio after each block")


def _snrs(one: Outcome) -> list[float]:
    """After each block, as drawn."""
    found = [block.snr_db for block in one.growth.blocks] if one.growth else []
    return [_TOP_DB if snr is None else min(max(snr, -_TOP_DB), _TOP_DB) for snr in found]


def _gate(report: Report) -> list[float]:
    return [] if report.max_drop is None else [report.max_drop]


def _apart(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The places, those that are nearly at one x moved up or down until no two labels lie on each other."""
    order = sorted(range(len(places)), key=lambda index: places[index][1])
    moved = [list(place) for place in places]
    for _ in range(100):
        still = True
        for i, a in enumerate(order):
            for b in order[i + 1 :]:
                if abs(moved[a][0] - moved[b][0]) < 2 * _LINE and moved[b][1] - moved[a][1] < _LINE - 3:
                    push = (_LINE - 2 - (moved[b][1] - moved[a][1])) / 2
                    moved[a][1] -= push
                    moved[b][1] += push
                    still = False
        if still:
            break
    return [(px, py) for px, py in moved]


def _svg(height: float, parts: Sequence[str], title: str, width: int = _WIDTH) -> str:
    head = f'<svg viewBox="0 0 {width} {height:.0f}" role="img" aria-label="{_escape(title)}">'
    return head + "".join(parts) + "</svg>"


def _x_axis(x: Axis, top: float, bottom: float, label: str) -> list[str]:
    parts = [_line(x.start, bottom, x.end, bottom, "axis")]
    for tick in x.ticks():
        parts += [
            _line(x(tick), top, x(tick), bottom, "grid"),
            _text(x(tick), bottom + 14, f"{tick:g}", "middle small"),
        ]
    return [*parts, _text((x.start + x.end) / 2, bottom + 30, label, "middle small")]


def _y_axis(y: Axis, left: float, right: float, label: str) -> list[str]:
    parts = [_line(left, y.start, left, y.end, "axis")]
    for tick in y.ticks():
        parts += [_line(left, y(tick), right, y(tick), "grid"), _text(left - 6, y(tick) + 4, f"{tick:g}", "end small")]
    middle = (y.start + y.end) / 2
    return [
        *parts,
        f'<text class="middle small" transform="translate(12 {middle:.1f}) rotate(-90)">{_escape(label)}</text>',
    ]


def _escape(text: str) -> str:
    return escape(plain.line(text))


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{_escape(text)}</text>'


def _dot(x: float, y: float, radius: float, number: int, title: str) -> str:
    circle = f'<circle class="dot s{number % 12}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">'
    return f"{circle}<title>{_escape(title)}</title></circle>"
