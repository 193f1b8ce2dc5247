"""From an edge model to the quantized program that the converters lower."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from volo_edge.console import Steps
from volo_edge.decompose import EdgeVOLO
from volo_edge.quantize.schemes import Precision
from volo_edge.quantize.statistics import gather
from volo_edge.quantize.weights import quantize_weights


def quantize(
    edge: EdgeVOLO,
    precisions: Mapping[str, Precision],
    backend: str,
    batches: Callable[[], Iterable[Tensor]],
    photographs: int,
    steps: Steps,
    **options: Any,
) -> ExportedProgram:
    """The program of `edge`, a batch of one, with each layer named in `precisions` quantized as it says.

    Args:
        edge: consumed.
        precisions: of layers by name, see `volo_edge.quantize.layers.precisions`.
        backend: what the program is for.
        batches: the calibration photographs (B, C, H, W), 0..255, each time it is called.
        photographs: how many there are.
        steps: shows progress.
        options: of `volo_edge.quantize.static.static`.
    """
    fitted = [name for name, precision in precisions.items() if precision.weights.compensated]
    inputs = {}
    if fitted:
        with steps.step("calibrating", photographs) as advance:
            inputs = gather(edge, fitted, batches(), True, advance)
    with steps.step("quantizing weights", len(precisions)) as advance:
        scales = quantize_weights(edge, precisions, inputs, advance)
    del inputs
    program = torch.export.export(edge, (edge.example(),), strict=False)
    if scales:
        from volo_edge.quantize.static import static

        with steps.step("finding ranges", photographs) as advance:
            given = ((images,) for images in batches())
            program = static(program, scales, backend, given, advance, **options)
    return program
