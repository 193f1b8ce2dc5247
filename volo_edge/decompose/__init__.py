"""Exact float rewrites: a reference VOLO in, an edge model that computes the same function out.

`rewrites` is the algebra on weights, `windows` the unfold and fold, `edge` the model, `tokens_last` and
`channels_first` its two layouts. `docs/decomposition.md` tells it with pictures.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from volo_edge.decompose import rewrites
from volo_edge.decompose.channels_first import CHANNELS_FIRST
from volo_edge.decompose.edge import EdgeVOLO, Layout
from volo_edge.decompose.tokens_last import TOKENS_LAST
from volo_edge.model import VOLO
from volo_edge.preprocess import Preprocessing

__all__ = ["CHANNELS_FIRST", "LAYOUTS", "TOKENS_LAST", "EdgeVOLO", "Layout", "decompose", "fold"]

LAYOUTS = {"xnnpack": TOKENS_LAST, "coreml": CHANNELS_FIRST, "coreai": CHANNELS_FIRST}  # of each backend's edge model


def fold(model: VOLO, preprocessing: Preprocessing) -> None:
    """Apply every exact rewrite to the model, in place: it takes pixels of 0..255 afterwards."""
    rewrites.fold_batch_norm(model)
    rewrites.fold_normalization(model, preprocessing.mean, preprocessing.std)
    rewrites.fold_layer_norm_affine(model)
    rewrites.fold_attention_scale(model)
    rewrites.fold_aux_scale(model)
    rewrites.centre_residual(model)


def decompose(
    model: VOLO,
    preprocessing: Preprocessing,
    layout: Layout,
    also: Sequence[Callable[[VOLO], None]] = (),
    *,
    consume: bool = False,
) -> EdgeVOLO:
    """The edge model of `model`: pixels (B, C, H, W) of 0..255 to the logits `model` gives for them normalized.

    `also` are rewrites to apply after those of `fold`. With `consume`, the reference's own parameters become the edge
    model's and it must not be used again: that saves a copy of the weights, which for VOLO-D5 is 1.2 GB.
    """
    if not consume:
        model = copy.deepcopy(model)
    fold(model, preprocessing)
    for rewrite in also:
        rewrite(model)
    return EdgeVOLO(model, layout)
