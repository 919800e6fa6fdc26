"""What was measured, as a table for people, as JSON, and as a plot (SVG)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path

import orjson

from benchmarks.ours import Run

_BAR_WIDTH, _ROW, _LABEL, _FIGURES = 420, 34, 230, 150
_COLOURS = ("#3b6ea8", "#7fa7d1", "#c46a3a", "#8c8c8c", "#6aa06a", "#b9a44c", "#9a79b5", "#d08fa0")


@dataclass(slots=True)
class Report:
    """Contestants in order, each with its run or why it was left out; then single figures."""

    machine: str
    runs: dict[str, Run] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def floor_ms(self) -> float:
        """The floor's CPU-milliseconds a call."""
        return next(iter(self.runs.values())).total_cpu_ms

    def text(self) -> str:
        """The tables."""
        rows = [("", "jobs/s", "CPU-ms/job", "x floor", "MB", "CPU-ms by process")]
        for name, run in self.runs.items():
            rows.append(
                (
                    name,
                    f"{run.jobs_per_s:,.0f}",
                    f"{run.total_cpu_ms:.2f}",
                    f"{run.total_cpu_ms / self.floor_ms:.2f}",
                    f"{sum(run.peak_mb.values()):,.0f}",
                    _by_process(run.cpu_ms),
                )
            )
        rows += [(name, "skipped", "", "", "", why) for name, why in self.skipped.items()]
        single = [(name, f"{value:,.2f}") for name, value in self.figures.items()]
        return "\n\n".join((self.machine, columns(rows), columns(single)))

    def write(self, folder: Path) -> None:
        """Write bench.txt, bench.json and, where anything was contested, bench.svg."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bench.txt").write_text(self.text() + "\n")
        (folder / "bench.json").write_bytes(orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2))
        if self.runs:
            (folder / "bench.svg").write_text(self.svg())

    def svg(self) -> str:
        """Bars of CPU-milliseconds a job on a linear scale, stacked by process."""
        longest = max(run.total_cpu_ms for run in self.runs.values())
        bars = [
            _bar(name, run, 40 + i * _ROW, longest, self.floor_ms)
            for i, (name, run) in enumerate(self.runs.items())
        ]
        height = 60 + len(self.runs) * _ROW
        width = _LABEL + _BAR_WIDTH + _FIGURES
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            'font-family="sans-serif" font-size="13">'
            f'<rect width="{width}" height="{height}" fill="white"/>'
            '<text x="8" y="22" font-weight="bold">CPU-milliseconds per job, all processes</text>'
            f"{''.join(bars)}</svg>\n"
        )


def _by_process(cpu_ms: Mapping[str, float]) -> str:
    parts = sorted(cpu_ms.items(), key=lambda part: -part[1])
    return "  ".join(f"{name} {ms:.2f}" for name, ms in parts if ms >= 0.005)


def columns(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows of equal length as a table; the figures stand between the first and the last column."""
    if not rows:
        return ""
    last = len(rows[0]) - 1
    widths = [max(len(row[i]) for row in rows) for i in range(last + 1)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(widths[i]) if i in (0, last) else cell.rjust(widths[i])
            for i, cell in enumerate(row)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _bar(name: str, run: Run, y: int, longest: float, floor_ms: float) -> str:
    parts = [f'<text x="8" y="{y + 15}">{escape(name)}</text>']
    x = float(_LABEL)
    for i, (process, ms) in enumerate(sorted(run.cpu_ms.items(), key=lambda part: -part[1])):
        width = ms / longest * _BAR_WIDTH
        parts.append(
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="20" '
            f'fill="{_COLOURS[i % len(_COLOURS)]}"><title>{escape(process)}: {ms:.2f} ms</title>'
            "</rect>"
        )
        x += width
    told = f"{run.total_cpu_ms:.2f} ms ({run.total_cpu_ms / floor_ms:.1f} x)"
    parts.append(f'<text x="{x + 6:.1f}" y="{y + 15}">{told}</text>')
    return "".join(parts)
