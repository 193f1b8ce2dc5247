"""Weights and images that any program can rebuild: a tensor's values follow from its name and shape alone.

The logits in `data/timm_volo.json` were computed from these, so changing a value here makes them wrong.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch
from numpy.typing import NDArray

from volo_edge.model import VOLO


def fill(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The float32 values of the tensor called `name`: normal noise seeded by the name, scaled by what it is for."""
    noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("running_var"):
        scaled = 0.5 + np.abs(noise)
    elif name.endswith(("running_mean", "bias")):
        scaled = 0.1 * noise
    elif name in ("pos_embed", "cls_token"):
        scaled = 0.2 * noise
    elif len(shape) == 1:  # the weight of a norm
        scaled = 1.0 + 0.1 * noise
    else:  # the weight of a linear or a convolution, over the square root of its fan-in
        scaled = noise / np.sqrt(np.prod(shape[1:]))
    return np.asarray(scaled, dtype=np.float32)


def image(size: tuple[int, int], seed: int = 0) -> NDArray[np.float32]:
    """A normalized image (1, 3, *size) of normal noise."""
    return np.random.RandomState(seed).standard_normal((1, 3, *size)).astype(np.float32)


def named_weights(model: VOLO) -> VOLO:
    """`model`, which may be on the meta device, with every tensor filled from its name."""
    state = {
        name: torch.from_numpy(fill(name, tuple(tensor.shape)))
        if tensor.is_floating_point()
        else torch.zeros((), dtype=tensor.dtype)
        for name, tensor in model.state_dict().items()
    }
    model.load_state_dict(state, assign=True)
    return model
