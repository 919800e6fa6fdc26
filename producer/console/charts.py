"""Drawings by ECharts, legible on light and dark, each told in words to who does not see it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from nicegui import ui

_INK: Final = "#7d8699"
_GRID: Final = "rgba(125, 134, 153, .22)"
_FONT: Final = "system-ui, 'Segoe UI', sans-serif"
"""By name: what it draws, ECharts measures in a canvas, which inherits nothing."""
COLOURS: Final = ("#5b7cfa", "#2fb490", "#f0a132", "#d35d90", "#8a6fdc", "#3fa7d6", "#9aa0ac")


def bars(
    label: str, names: Sequence[str], series: Mapping[str, Sequence[float]], unit: str = "$"
) -> dict[str, Any]:
    """Stacked columns: a value of each series for each name."""
    return _frame(label) | {
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}},
        "legend": {"show": len(series) > 1, "top": 0, "textStyle": {"color": _INK},
                   "type": "scroll"},
        "grid": {"left": 8, "right": 36, "top": 36 if len(series) > 1 else 16, "bottom": 4,
                 "containLabel": True},
        "xAxis": {"type": "category", "data": list(names), "axisLabel": {"color": _INK},
                  "axisLine": {"lineStyle": {"color": _GRID}}, "axisTick": {"show": False}},
        "yAxis": {"type": "value", "axisLabel": {"color": _INK, "formatter": unit + "{value}"},
                  "splitLine": {"lineStyle": {"color": _GRID}}},
        "series": [
            {"name": name, "type": "bar", "stack": "all", "data": list(values),
             "barMaxWidth": 38}
            for name, values in series.items()
        ],
    }  # fmt: skip


def line(label: str, names: Sequence[str], values: Sequence[float]) -> dict[str, Any]:
    """One sum as it grows."""
    chart = bars(label, names, {label: values})
    chart["series"] = [
        {"name": label, "type": "line", "data": list(values), "showSymbol": len(names) == 1,
         "smooth": 0.2, "smoothMonotone": "x", "lineStyle": {"width": 2},
         "areaStyle": {"opacity": 0.16}}
    ]  # fmt: skip
    chart["xAxis"]["boundaryGap"] = False
    return chart


def ring(label: str, parts: Mapping[str, float]) -> dict[str, Any]:
    """Shares of a whole."""
    return _frame(label) | {
        "tooltip": {"trigger": "item", "formatter": "{b}: {c} ({d} %)"},
        "legend": {"orient": "vertical", "left": "52%", "top": "middle", "type": "scroll",
                   "textStyle": {"color": _INK}},
        "series": [
            {"name": label, "type": "pie", "radius": ["52%", "80%"], "center": ["24%", "50%"],
             "label": {"show": False}, "itemStyle": {"borderRadius": 4},
             "data": [{"name": name, "value": value} for name, value in parts.items()]}
        ],
    }  # fmt: skip


def draw(options: dict[str, Any], height: str = "15rem") -> ui.echart:
    """The drawing on the page; change its options and `update` it."""
    chart = ui.echart(options, renderer="svg").style(f"height: {height}; width: 100%")
    label = options["aria"]["label"]["general"]["withoutTitle"]
    return chart.props(f'role="img" aria-label="{label}"')


def dollars(nusd: int) -> float:
    """Nano-dollars for an axis: a drawing may round, tables do not."""
    return round(nusd / 1e9, 6)


def _frame(label: str) -> dict[str, Any]:
    return {
        "color": list(COLOURS),
        "backgroundColor": "transparent",
        "textStyle": {"fontFamily": _FONT},
        "animationDuration": 250,
        "aria": {"enabled": True, "label": {"general": {"withoutTitle": label}}},
    }
