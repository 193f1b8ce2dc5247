"""The layers of an edge model that a scheme may quantize, and which precision it gives each.

Everything else stays float, because rounding it costs accuracy and saves nothing: the means within norms (one output,
and their error scales a whole token), the one-hot kernels of windows (constants of ones and zeros, exact as they are),
softmax, GELU and the products of attention (no weights), the embeddings (added once), and the pixels' mean.

In schemes that only make the file smaller the stem stays float too: 0.3 % of VOLO-D1's weights, and the part whose
rounding the logits feel most. Its first convolution does in all: it reads pixels, levels of 0..255 already, which a
static range would round to 256 others. `docs/quantization.md` has the measurements.
"""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from volo_edge.decompose import EdgeVOLO
from volo_edge.quantize.schemes import FLOAT, Precision, Scheme

STEM = "patch_embed.conv."


def quantizable(edge: EdgeVOLO) -> dict[str, nn.Linear | nn.Conv2d]:
    """The layers of `edge` that hold trained weights, by name, in the order of its modules."""
    return {name: module for name, module in edge.named_modules() if type(module) in (nn.Linear, nn.Conv2d)}


def precisions(edge: EdgeVOLO, scheme: Scheme, keep_float: Collection[str] = ()) -> dict[str, Precision]:
    """What `scheme` gives each layer that it quantizes, without the layers named in `keep_float`."""
    layers = quantizable(edge)
    stem = [name for name in layers if name.startswith(STEM)]
    chosen = (
        dict.fromkeys(layers, scheme.projections) | dict.fromkeys(stem, scheme.stem) | dict.fromkeys(stem[:1], FLOAT)
    )
    return {name: which for name, which in chosen.items() if which != FLOAT and name not in keep_float}
