"""What tests of exact rewrites share: small models in double precision, images of noise, how far apart logits are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.weights import image, named_weights
from volo_edge.model import VOLO
from volo_edge.variants import Architecture

PRECISIONS = [pytest.param(torch.float32, 1e-5, id="float32"), pytest.param(torch.float64, 1e-10, id="float64")]

SMALL = Architecture(
    layers=(2, 1, 1),
    embed_dims=(12, 24, 24),
    num_heads=(2, 4, 4),
    mlp_ratios=(3.0, 3.0, 3.0),
    stem_hidden_dim=8,
    image_size=(64, 64),
    num_classes=5,
)


def reference(architecture: Architecture, dtype: torch.dtype = torch.float64) -> VOLO:
    with torch.device("meta"):
        model = VOLO(architecture)
    return named_weights(model).to(dtype)


def noise(architecture: Architecture, batch: int = 2, dtype: torch.dtype = torch.float64) -> Tensor:
    """Images of noise, no two alike, in 0..255."""
    images = torch.cat([torch.from_numpy(image(architecture.image_size, seed)) for seed in range(batch)])
    return (images[:, : architecture.in_chans].to(dtype) * 60 + 110).clamp(0, 255)


def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        result: Tensor = model(images)
    return result


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Of the logits that differ most, image by image."""
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert expected.std(-1).min() > 0.1  # logits that are all alike would prove nothing
    norm = torch.linalg.vector_norm
    return float((norm(found - expected, dim=-1) / norm(expected, dim=-1)).max())
