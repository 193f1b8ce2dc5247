"""The comparison as a picture: a bar a contender, the longer the slower, with the spread of its turns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from volo_edge import plain

if TYPE_CHECKING:
    from volo_edge.benchmark.measure import Benchmark

_OURS, _PEERS = "#117733", "#777777"


@rc_context({"text.parse_math": False})  # a dollar in a name is a dollar
def draw(result: Benchmark, path: Path) -> None:
    """Write the picture, in the format that the name of `path` ends in."""
    from volo_edge.benchmark.request import PEERS

    timed = sorted(result.timed, key=lambda one: one.milliseconds)
    figure = Figure(figsize=(8, 1.2 + 0.3 * len(timed)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    rows = range(len(timed))
    times = [one.milliseconds for one in timed]
    spread = [
        [one.milliseconds - min(one.turns) for one in timed],
        [max(one.turns) - one.milliseconds for one in timed],
    ]
    colours = [_PEERS if one.name in PEERS else _OURS for one in timed]
    axes.barh(rows, times, xerr=spread, color=colours, error_kw={"linewidth": 1})
    axes.set_yticks(rows, [plain.line(one.name) for one in timed], fontsize=8)
    axes.invert_yaxis()
    for row, one in zip(rows, timed, strict=True):
        axes.annotate(f"  {one.milliseconds:.1f}", (max(one.turns), row), va="center", fontsize=8)
    axes.set_xlabel("milliseconds an image: the shorter the better", fontsize=8)
    height, width = result.image_size
    axes.set_title(
        f"{plain.line(result.model)} at {height}x{width}, batch 1, {result.threads} thread(s)\n"
        f"{result.machine.processor}",
        fontsize=9,
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
