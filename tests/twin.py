"""A model's twin: the same function, written so that it is hard to quantize.

In large trained transformers some channels are tens of times larger than their neighbours (Bondarenko et al. 2021,
arXiv:2109.12948; Dettmers et al. 2022, arXiv:2208.07339), and a range for all of them leaves the small ones few levels.
Small models need not have such channels. Their twins have them wherever a channel's scale is free, and the original's
float logits: what quantization loses on the twin alone, it loses to outliers.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from volo_edge.decompose.rewrites import assign, bias_of, blocks
from volo_edge.model import VOLO, Attention, OutlookAttention

SPREAD = 64.0  # a channel is multiplied by something between 1 / SPREAD and SPREAD


def make_twin(model: VOLO, seed: int = 0) -> None:
    """Scale every channel of `model` that can be scaled without changing the function, in place.

    The model is a reference with its batch norms. Each channel's factor is log-uniform: it multiplies what makes the
    channel and divides what reads it. Products are taken in double precision and rounded once.
    """
    generator = torch.Generator().manual_seed(seed)

    def factors(width: int) -> Tensor:
        uniform = 2 * torch.rand(width, generator=generator, dtype=torch.float64) - 1
        return torch.exp(math.log(SPREAD) * uniform)

    for block in blocks(model):
        attn: Any = block.attn
        width = attn.proj.in_features
        values, scores = factors(width), factors(width)
        if isinstance(attn, OutlookAttention):
            _scale_outputs(attn.v, values)  # its scores are not a product of channels
        elif isinstance(attn, Attention):
            _scale_outputs(attn.qkv, torch.cat((scores, 1 / scores, values)))
        else:
            _scale_outputs(attn.q, scores)
            _scale_outputs(attn.kv, torch.cat((1 / scores, values)))
        _scale_inputs(attn.proj, values)

    stem = list(model.patch_embed.conv)
    norms = [layer for layer in stem if isinstance(layer, nn.BatchNorm2d)]
    readers = [layer for layer in stem if isinstance(layer, nn.Conv2d)][1:]
    for norm, reader in zip(norms, [*readers, model.patch_embed.proj] if norms else [], strict=True):
        factor = factors(norm.num_features)
        for parameter in (norm.weight, norm.bias):
            parameter.data = (parameter.data.double() * factor).to(parameter.dtype)
        _scale_inputs(reader, factor)  # a ReLU passes a positive factor through


def _scale_outputs(layer: nn.Linear, factor: Tensor) -> None:
    assign(layer, layer.weight.double() * factor[:, None], bias_of(layer) * factor)


def _scale_inputs(layer: nn.Linear | nn.Conv2d, factor: Tensor) -> None:
    assign(layer, layer.weight.double() / factor.reshape(1, -1, *(1,) * (layer.weight.dim() - 2)))
