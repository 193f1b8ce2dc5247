"""Quantizes the weights of an edge model in place: torchao picks scales and stores, calibration picks the integers.

A layer's weight becomes one of torchao's tensors (`IntxUnpackedToInt8Tensor`, `CodebookQuantizedTensor`), which export
writes as integers and a dequantization that ExecuTorch's and Core ML's lowering know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torchao.core.config import AOBaseConfig
from torchao.quantization import (
    Int8DynamicActivationIntxWeightConfig,
    IntxUnpackedToInt8Tensor,
    IntxWeightOnlyConfig,
    PerAxis,
    PerGroup,
    quantize_,
)

from volo_edge.decompose import EdgeVOLO
from volo_edge.quantize.compensate import compensated
from volo_edge.quantize.layers import quantizable
from volo_edge.quantize.palette import palettize
from volo_edge.quantize.schemes import Precision, Weights
from volo_edge.quantize.statistics import Inputs

_SCALE = torch.bfloat16  # of 4-bit groups: what XNNPACK stores, and float16 holds all of it that occurs


def quantize_weights(
    edge: EdgeVOLO,
    precisions: Mapping[str, Precision],
    inputs: Mapping[str, Inputs],
    advance: Callable[[int], None] = lambda layers: None,
) -> dict[str, Tensor]:
    """Quantize the layers named in `precisions`.

    Args:
        edge: changed in place.
        precisions: of layers by name.
        inputs: statistics with products of the layers whose rounding is compensated.
        advance: called with 1 after each layer.

    Returns:
        Of each layer whose activations are static, the scale (outputs,) of each row. Its weights stay float, multiples
        of these scales: PT2E makes them integers when it rewrites the graph.
    """
    layers, scales = quantizable(edge), {}
    for name, precision in precisions.items():
        layer, weights = layers[name], precision.weights
        products = inputs[name].products if weights.compensated else None
        if weights.kind == "palette":
            palettize(layer, weights.bits, products)
        elif precision.activations == "static":
            scales[name] = _to_multiples(layer, weights.bits, products)
        else:
            _to_integers(layer, weights, precision.activations == "dynamic", products)
        advance(1)
    return scales


def _to_integers(layer: nn.Linear | nn.Conv2d, weights: Weights, dynamic: bool, products: Tensor | None) -> None:
    original = layer.weight.data.flatten(1)
    group = weights.group if weights.group and original.shape[1] % weights.group == 0 else None
    granularity = PerGroup(group) if group else PerAxis(0)
    dtype, scale = getattr(torch, f"int{weights.bits}"), _SCALE if group else None
    config: AOBaseConfig
    if dynamic:
        config = Int8DynamicActivationIntxWeightConfig(dtype, granularity, weight_scale_dtype=scale)
    else:
        config = IntxWeightOnlyConfig(dtype, granularity, scale_dtype=scale)
    quantize_(layer, config, filter_fn=lambda module, name: True)  # by default it takes linears only
    stored: IntxUnpackedToInt8Tensor = layer.weight  # not its `data`, which is another tensor of the same integers
    stored.scale = stored.scale.float()  # of the same values: coremltools has no bfloat16
    if products is not None:
        scales = stored.scale.flatten(1).repeat_interleave(group or original.shape[1], 1)
        lowest, highest = -(2 ** (weights.bits - 1)), 2 ** (weights.bits - 1) - 1
        integers = _fitted(original, products, scales, lowest, highest)
        stored.qdata.copy_(integers.reshape(stored.qdata.shape))


def _to_multiples(layer: nn.Linear | nn.Conv2d, bits: int, products: Tensor | None) -> Tensor:
    """Round a layer's weights to multiples of a scale for each row, no more than PT2E's symmetric integers reach."""
    original: Tensor = layer.weight.data.flatten(1)
    highest = 2 ** (bits - 1) - 1
    scale: Tensor = original.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / highest
    scales = scale[:, None].expand_as(original)
    if products is None:
        integers = (original / scales).round()
    else:
        integers = _fitted(original, products, scales, -highest, highest)
    layer.weight.data = (integers * scales).reshape(layer.weight.shape)
    return scale


def _fitted(original: Tensor, products: Tensor, scales: Tensor, lowest: int, highest: int) -> Tensor:
    """Integers of `lowest`..`highest` that, times `scales`, stand for `original` (outputs, inputs)."""

    def nearest(column: int, values: Tensor) -> Tensor:
        return (values / scales[:, column]).round().clamp(lowest, highest) * scales[:, column]

    return (compensated(original, products, nearest) / scales).round()
