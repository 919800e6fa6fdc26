"""The frontier as a drawing: quality over cost (or over the share of strong calls), as SVG."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 900, 520, 70, 40, 230, 60
_COLOURS: Final = ("#3b6ea8", "#c46a3a", "#8c8c8c", "#b9a44c", "#6aa06a", "#9a79b5", "#333333")
_TICKS = 5


def frontier_svg(told: Mapping[str, Any]) -> str:
    """The drawing of what `evaluate` told."""
    axis = "cost_nusd" if told["is_priced"] else "strong_share"
    lines = [
        (p["policy"], [(q[axis], q["quality"]) for q in p["points"]]) for p in told["policies"]
    ]
    dots = [
        (single["model"], (single[axis], single["quality"]))
        for single in told["singles"]
        if single.get(axis) is not None
    ]
    places = [place for _, line in lines for place in line] + [place for _, place in dots]
    sheet = _Sheet(places)
    unit = "total cost, USD" if told["is_priced"] else "share of prompts sent to the strong model"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        'font-family="sans-serif" font-size="12">'
    )
    drawn = [
        head,
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="22" font-size="14" font-weight="bold">Quality and {unit}</text>',
        *sheet.axes(1e9 if told["is_priced"] else 1.0),
        *(sheet.line(number, name, line) for number, (name, line) in enumerate(lines)),
        *(sheet.dot(name, place) for name, place in dots),
        "</svg>\n",
    ]
    return "".join(drawn)


class _Sheet:
    """Maps figures to places on the drawing."""

    def __init__(self, places: Sequence[tuple[float, float]]) -> None:
        across, up = [x for x, _ in places], [y for _, y in places]
        self._x0, self._x1 = min(across), max(*across, min(across) + 1e-9)
        self._y0, self._y1 = min(up), max(*up, min(up) + 1e-9)

    def axes(self, unit: float) -> list[str]:
        """Ticks with their figures; `unit`: by what the horizontal ones are divided."""
        drawn = []
        for step in range(_TICKS + 1):
            x = self._x0 + (self._x1 - self._x0) * step / _TICKS
            y = self._y0 + (self._y1 - self._y0) * step / _TICKS
            left, top = self._at(x, y)
            drawn.append(
                f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{top}" y2="{top}" stroke="#ddd"/>'
                f'<text x="{_LEFT - 8}" y="{top + 4}" text-anchor="end">{y:.3f}</text>'
                f'<text x="{left}" y="{_HEIGHT - _BOTTOM + 20}" text-anchor="middle">'
                f"{x / unit:.3g}</text>"
            )
        return drawn

    def line(self, number: int, name: str, line: Sequence[tuple[float, float]]) -> str:
        """A policy's curve, and its name in the margin."""
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{x},{y}" for x, y in (self._at(*place) for place in line))
        margin, top = _WIDTH - _RIGHT + 20, _TOP + 20 * number
        return (
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
            f'<line x1="{margin}" x2="{margin + 20}" y1="{top}" y2="{top}" stroke="{colour}" '
            f'stroke-width="2"/><text x="{margin + 26}" y="{top + 4}">{escape(name)}</text>'
        )

    def dot(self, name: str, place: tuple[float, float]) -> str:
        """A single model."""
        x, y = self._at(*place)
        return (
            f'<circle cx="{x}" cy="{y}" r="4" fill="black"/>'
            f'<text x="{x + 7}" y="{y + 4}">{escape(name)}</text>'
        )

    def _at(self, x: float, y: float) -> tuple[float, float]:
        wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return (
            round(_LEFT + wide * (x - self._x0) / (self._x1 - self._x0), 1),
            round(_TOP + high * (1 - (y - self._y0) / (self._y1 - self._y0)), 1),
        )
