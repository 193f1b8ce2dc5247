"""Writes an edge VOLO as an ExecuTorch program that XNNPACK computes."""

from __future__ import annotations

from pathlib import Path

import torch

from converters.executorch.reasons import partitioner_reasons
from converters.targets import Choice
from volo_edge.decompose import TOKENS_LAST, EdgeVOLO

LAYOUT = TOKENS_LAST


def lower(edge: EdgeVOLO, choice: Choice, path: Path) -> dict[str, str]:
    """Write `edge` to `path`; why each operator that XNNPACK was not given stayed outside ({} is the aim)."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    images = torch.zeros(1, 3, *edge.architecture.image_size)
    program = torch.export.export(edge, (images,), strict=False)
    with partitioner_reasons() as reasons:
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    with path.open("wb") as file:
        lowered.to_executorch().write_to_file(file)
    return dict(reasons)
