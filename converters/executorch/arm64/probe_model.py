"""Makes `probe.pte` and `probe.json` anew: python -m volo_edge.converters.executorch.arm64.probe_model

A convolution in single precision, and linears in single precision, with 8-bit weights and activations whose range is
found as they come (as in `int8-dynamic`), fixed (`int8-static`), and with 4-bit weights: for each, XNNPACK chooses
kernels by the processor. The answer is the exported quantized program's, computed by torch operator by operator.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from volo_edge import files
from volo_edge.converters.executorch.arm64.probe import ANSWERS, IMAGE, PROGRAM, images
from volo_edge.converters.targets import choose
from volo_edge.decompose import EdgeVOLO
from volo_edge.quantize.schemes import SCHEMES
from volo_edge.quantize.static import static
from volo_edge.quantize.weights import quantize_weights

_WIDTH, _LOGITS = 64, 48


class Probe(nn.Module):
    """16x16 pixels to 64 tokens, which each layer mixes and adds to; their mean makes the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, _WIDTH, 3, stride=2, padding=1)
        self.single, self.dynamic, self.fixed, self.grouped = (nn.Linear(_WIDTH, _WIDTH) for _ in range(4))
        self.head = nn.Linear(_WIDTH, _LOGITS)

    def forward(self, image: Tensor) -> Tensor:
        tokens = self.conv(image).flatten(2).transpose(1, 2)
        for layer in (self.single, self.dynamic, self.fixed, self.grouped):
            tokens = tokens + layer(tokens)
        logits: Tensor = self.head(tokens.mean(1))
        return logits


def make() -> None:
    """Write both files."""
    torch.manual_seed(0)
    probe = Probe().eval()
    given = torch.from_numpy(images())
    of = {"dynamic": "int8-dynamic", "head": "int8-dynamic", "fixed": "int8-static", "grouped": "int4-dynamic"}
    precisions: dict[str, Any] = {}
    for layer, scheme in of.items():
        chosen = SCHEMES[scheme].projections
        precisions[layer] = replace(chosen, weights=replace(chosen.weights, compensated=False))
    scales = quantize_weights(cast(EdgeVOLO, probe), precisions, {})
    program = torch.export.export(probe, (given[:1],), strict=False)
    program = static(program, scales, "xnnpack", [(given,)], lambda count: None)
    with torch.no_grad():
        logits = torch.cat([program.module()(image[None]) for image in given])
    choice = choose("executorch", None, "int8-dynamic", None)
    choice.target.module("lower").lower(program, choice, PROGRAM)
    files.write_text(ANSWERS, json.dumps({"image": [1, *IMAGE], "logits": logits.tolist()}) + "\n")


if __name__ == "__main__":
    make()
