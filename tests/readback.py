"""Every weight of a saved file against the torch tensor that it came from."""

from __future__ import annotations

from pathlib import Path

import torch

from volo_edge.converters.targets import Target
from volo_edge.decompose import EdgeVOLO
from volo_edge.evaluate.growth import float_weight, matched


def assert_stored(target: Target, path: Path, edge: EdgeVOLO) -> None:
    """The file at `path` holds the weights of the layers of `edge`, to half precision's rounding.

    `edge` may be quantized: its integers and palettes count as what they stand for.
    """
    for name, found in matched(edge, target.module("program").read_weights(path)).items():
        weight = float_weight(edge, name)
        error = (torch.tensor(found.weight) - weight).norm() / weight.norm()
        assert error < 1e-3, (name, error)
