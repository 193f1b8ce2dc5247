"""Exact rewrites that make a model easy to quantize; like `volo_edge.decompose.rewrites`, reference to reference.

A network can be written in many ways that compute the same function, and rounding hurts some of them more than others:
a channel that is 64 times larger than its neighbours takes all of an 8-bit range. `equalize` picks one way among those
that differ in the scales of single channels, the same one wherever it starts from; `rotate` then spreads what is large
in few channels of the residual stream over all of them. Both come after `volo_edge.decompose.fold`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from volo_edge.decompose.rewrites import assign, bias_of, blocks, norm_readers
from volo_edge.model import VOLO, Attention, ClassAttention, OutlookAttention

_SWEEPS = 30  # over the stem, whose convolutions each balance with both neighbours: the last changes 1e-6 or less


def equalize(model: VOLO) -> None:
    """Every channel between two layers is scaled so that its weights in both have the same norm.

    A channel that reaches its readers without a change of scale, or through a ReLU, may be multiplied by s > 0 where it
    is made and divided by s where it is read: the values of attention and its output projection, query and key, and the
    stem's convolutions. With row norm a and column norm b, s = sqrt(b / a) leaves both at sqrt(a b), which does not
    depend on the scale it was found in (cross-layer equalization, Nagel et al. 2019, arXiv:1906.04721, section 4.1).
    """
    for block in blocks(model):
        _balance_values(block.attn)
        _balance_scores(block.attn)
    stem = [layer for layer in model.patch_embed.conv if isinstance(layer, nn.Conv2d)]
    readers = [*stem[1:], model.patch_embed.proj]
    for _ in range(_SWEEPS if stem else 0):
        for maker, reader in zip(stem, readers, strict=True):
            weight = reader.weight.double()
            factor = _balance(_norms(maker.weight.double()), _norms(weight.transpose(0, 1)))
            assign(maker, maker.weight.double() * factor.reshape(-1, 1, 1, 1), bias_of(maker) * factor)
            assign(reader, weight / factor.reshape(1, -1, 1, 1))


def rotate(model: VOLO, seed: int = 0) -> None:
    """The residual stream is rotated by an orthogonal matrix that its writers and readers take in.

    An outlier in one channel becomes a little in all, so the ranges of tokens and weights shrink (QuaRot, Ashkboos et
    al. 2024, arXiv:2404.00456). A layer norm's mean is taken out along the vector of ones: the matrix leaves that
    vector where it is, so that a layer norm of a rotated token is the rotated layer norm of the token. The norms' own
    gains must have been folded away.
    """
    downsample: nn.Conv2d = model.network[1].proj  # type: ignore[assignment]
    outlooker, transformer = rotation(downsample.in_channels, seed), rotation(downsample.out_channels, seed + 1)
    _rotate_writer(model.patch_embed.proj, outlooker)
    _rotate_reader(downsample, outlooker)
    _rotate_writer(downsample, transformer)
    for block in blocks(model):
        attn: Any = block.attn
        matrix = outlooker if isinstance(attn, OutlookAttention) else transformer
        for reader in (*norm_readers(attn), block.mlp.fc1):
            _rotate_reader(reader, matrix)
        for writer in (attn.proj, block.mlp.fc2):
            _rotate_writer(writer, matrix)
    for parameter in (model.pos_embed, model.cls_token):
        parameter.data = (parameter.data.double() @ transformer.T).to(parameter.dtype)
    for head in (model.head, model.aux_head):
        if head is not None:
            _rotate_reader(head, transformer)


ROBUST = (equalize, rotate)


def rotation(width: int, seed: int) -> Tensor:
    """An orthogonal, symmetric matrix (width, width), float64, that maps the vector of ones to itself.

    D^T S D of the cosine transform D (DCT-II), whose first basis vector is constant, and random signs S, the first +1.
    Any width has one; with Hadamard matrices in D's place, which only some widths have, it measured the same.
    """
    k = torch.arange(width, dtype=torch.float64)
    cosines = torch.cos(math.pi / width * k[:, None] * (k + 0.5)) * math.sqrt(2 / width)
    cosines[0] /= math.sqrt(2)
    signs = torch.randint(0, 2, (width,), generator=torch.Generator().manual_seed(seed)).double() * 2 - 1
    signs[0] = 1
    return cosines.T @ (signs[:, None] * cosines)


def _balance_values(attn: Any) -> None:
    """Between the values and the output projection."""
    maker, rows = {OutlookAttention: ("v", 0), Attention: ("qkv", 2), ClassAttention: ("kv", 1)}[type(attn)]
    values = _Rows(getattr(attn, maker), rows, attn.proj.in_features)
    factor = _balance(_norms(values.weight), _norms(attn.proj.weight.double().T))
    values.scale(factor)
    assign(attn.proj, attn.proj.weight.double() / factor)


def _balance_scores(attn: Any) -> None:
    """Between query and key."""
    width = attn.proj.in_features
    if isinstance(attn, Attention):
        query, key = _Rows(attn.qkv, 0, width), _Rows(attn.qkv, 1, width)
    elif isinstance(attn, ClassAttention):
        query, key = _Rows(attn.q, 0, width), _Rows(attn.kv, 0, width)
    else:
        return
    factor = _balance(_norms(query.weight), _norms(key.weight))
    query.scale(factor)
    key.scale(1 / factor)


class _Rows:
    """The `number`-th `width` outputs of a linear."""

    def __init__(self, linear: nn.Linear, number: int, width: int) -> None:
        self._linear = linear
        self._rows = slice(number * width, (number + 1) * width)

    @property
    def weight(self) -> Tensor:
        return self._linear.weight[self._rows].double()

    def scale(self, factor: Tensor) -> None:
        factors = torch.ones(self._linear.out_features, dtype=torch.float64)
        factors[self._rows] = factor
        assign(self._linear, self._linear.weight.double() * factors[:, None], bias_of(self._linear) * factors)


def _norms(weight: Tensor) -> Tensor:
    """Of each row, over everything in it."""
    norms: Tensor = weight.flatten(1).norm(dim=1)
    return norms


def _balance(made: Tensor, read: Tensor) -> Tensor:
    """What to multiply a channel by where it is made; 1 where it is made or read as nothing but zeros."""
    factor = (read / made).sqrt()
    return torch.where(torch.isfinite(factor) & (factor > 0), factor, 1.0)


def _rotate_writer(layer: nn.Linear | nn.Conv2d, matrix: Tensor) -> None:
    assign(layer, torch.tensordot(matrix, layer.weight.double(), 1), matrix @ bias_of(layer))


def _rotate_reader(layer: nn.Linear | nn.Conv2d, matrix: Tensor) -> None:
    assign(layer, torch.einsum("oi...,ki->ok...", layer.weight.double(), matrix))
