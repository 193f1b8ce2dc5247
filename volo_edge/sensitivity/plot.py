"""The report as a picture: a bar a layer, in the network's order, coloured by what the layer is for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from volo_edge import plain

if TYPE_CHECKING:
    from volo_edge.sensitivity.measure import Sensitivity

_COLOURS = {  # Paul Tol's muted scheme, which the colour-blind can tell apart
    "stem": "#332288",
    "patch": "#88ccee",
    "v": "#44aa99",
    "q": "#117733",
    "k": "#999933",
    "attn": "#ddcc77",
    "proj": "#cc6677",
    "fc1": "#882255",
    "fc2": "#aa4499",
    "head": "#777777",
}
_WIDTH, _BAR, _MARGIN = 11.0, 0.17, 1.6  # inches


@rc_context({"text.parse_math": False})  # a dollar in a name is a dollar
def draw(sensitivity: Sensitivity, path: Path) -> None:
    """Write the picture, in the format that the name of `path` ends in."""
    layers = sensitivity.layers
    height = _MARGIN + _BAR * len(layers)
    figure = Figure(figsize=(_WIDTH, height))
    FigureCanvasAgg(figure)
    only, gain = figure.subplots(1, 2, sharey=True)
    rows, colours = range(len(layers)), [_COLOURS[layer.kind] for layer in layers]
    only.barh(rows, [layer.only.snr_db or 0 for layer in layers], color=colours)
    gain.barh(rows, [layer.gain_db or 0 for layer in layers], color=colours)
    only.set_yticks(rows, [plain.line(layer.name) for layer in layers], fontsize=7)
    only.set_ylim(len(layers) - 0.4, -0.6)
    finite = [layer.only.snr_db for layer in layers if layer.only.snr_db is not None]
    if finite:
        only.set_xlim(left=max(0, min(finite) - 5))
    only.set_xlabel("SNR of the logits, dB: shorter is worse", fontsize=8)
    gain.set_xlabel("SNR gained, dB: longer is worse", fontsize=8)
    only.set_title("only this layer quantized", fontsize=9)
    gain.set_title("all but this layer quantized", fontsize=9)
    gain.axvline(0, color="black", linewidth=0.6)
    for axes in (only, gain):
        axes.tick_params(axis="x", labelsize=7)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", linewidth=0.4, alpha=0.5)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    request, quantized = sensitivity.request, sensitivity.quantized
    snr = "no noise" if quantized.snr_db is None else f"{quantized.snr_db:.1f} dB"
    figure.suptitle(
        f"{plain.line(request['model'])}, {request['scheme']['name']} for {request['backend']}: all quantized {snr}, "
        f"{sensitivity.photographs} photographs\nmeasured on {sensitivity.measured_on}",
        fontsize=9,
        y=1 - 0.12 / height,
        va="top",
    )
    kinds = [kind for kind in _COLOURS if any(layer.kind == kind for layer in layers)]
    figure.legend(
        handles=[Patch(color=_COLOURS[kind], label=kind) for kind in kinds],
        loc="lower center",
        ncols=len(kinds),
        fontsize=8,
        frameon=False,
    )
    figure.subplots_adjust(left=0.19, right=0.98, top=1 - 0.75 / height, bottom=0.8 / height, wspace=0.05)
    figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)
