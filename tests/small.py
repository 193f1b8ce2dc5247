"""A VOLO of two blocks whose conversion takes seconds: oblong image, odd token grid, five classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from tests.weights import named_weights
from volo_edge.artifact import ModelInfo
from volo_edge.decompose import EdgeVOLO, Layout, decompose
from volo_edge.model import VOLO
from volo_edge.preprocess import Preprocessing, normalize
from volo_edge.variants import Architecture

SMALL = Architecture(
    layers=(1, 1),
    embed_dims=(32, 32),
    num_heads=(1, 2),
    mlp_ratios=(3.0, 3.0),
    stem_hidden_dim=8,
    image_size=(72, 48),
    num_classes=5,
)


def one_block_a_stage(architecture: Architecture) -> Architecture:
    """The architecture with all its widths and heads and as few blocks as it can have."""
    return replace(architecture, layers=(1,) * len(architecture.layers))


def edge_model(architecture: Architecture, layout: Layout) -> EdgeVOLO:
    """The edge model of weights named after their tensors."""
    return decompose(named_weights(VOLO(architecture)), preprocessing_of(architecture), layout)


def exported(edge: EdgeVOLO) -> ExportedProgram:
    """`edge` as `lower` takes it."""
    return torch.export.export(
        edge, (torch.zeros(1, edge.architecture.in_chans, *edge.architecture.image_size),), strict=False
    )


def model_info(name: str, image_size: tuple[int, int], num_classes: int, weights: str) -> ModelInfo:
    """What a manifest says of a small model."""
    return ModelInfo(
        name=name,
        parameters=12,
        image_size=image_size,
        num_classes=num_classes,
        activation="softmax",
        weights=weights,
        weights_sha256="0" * 64,
        entry="",
        prefix="",
        trained_size=image_size,
        architecture=replace(SMALL, num_classes=num_classes),
        assumed=(),
    )


def preprocessing_of(architecture: Architecture) -> Preprocessing:
    grey = {"color": "L", "mean": (0.45,), "std": (0.23,)} if architecture.in_chans == 1 else {}
    return Preprocessing.from_crop(architecture.image_size, 1.0, **grey)


def pixels(architecture: Architecture, count: int = 2) -> NDArray[np.float32]:
    """Images (count, C, H, W) of levels 0..255."""
    size = (count, architecture.in_chans, *architecture.image_size)
    return np.random.RandomState(0).randint(0, 256, size).astype(np.float32)


def reference_logits(architecture: Architecture, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the float model says of `images`."""
    model = named_weights(VOLO(architecture))
    with torch.inference_mode():
        return np.asarray(model(normalize(torch.from_numpy(images), preprocessing_of(architecture))))
