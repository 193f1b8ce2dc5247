"""Every weight of a saved file against the torch tensor that it came from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from converters.program import StoredLayer
from converters.targets import Target
from volo_edge.decompose import EdgeVOLO


def assert_stored(target: Target, path: Path, edge: EdgeVOLO, order: Sequence[str]) -> None:
    """The file at `path` holds the weights of the layers of `edge` in `order`, to half precision's rounding.

    `edge` may be quantized: its integers and palettes count as what they stand for.
    """
    stored: tuple[StoredLayer, ...] = target.module("program").read_weights(path)
    left = iter(stored)
    for name in order:
        weight: Any = edge.get_submodule(name).weight.data
        weight = weight.dequantize() if type(weight) is not torch.Tensor else weight
        # of other shapes are the windows' own kernels, and norms that Core ML has an operator for are no layers
        found = next((one for one in left if one.weight.shape == tuple(weight.shape)), None)
        assert found is not None, name
        error = (torch.tensor(found.weight) - weight).norm() / weight.norm()
        assert error < 1e-3, (name, error)
