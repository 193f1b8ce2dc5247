"""Weights as indices into a table of values, k-means' centres: what Core ML calls palettized.

torchao's Core ML codebook tensor stores them. Its own k-means and its operators take matrices only, and Core ML's
projections here are 1x1 convolutions: so the table is made here, and the tensor is taught the convolution.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchao.prototype.quantization.codebook_coreml import CodebookQuantizedTensor

from volo_edge.quantize.compensate import compensated

_ITERATIONS = 300  # of Lloyd's algorithm: they take about as long as the sorting does


def palettize(layer: nn.Linear | nn.Conv2d, bits: int, products: Tensor | None) -> None:
    """Replace the weight of `layer` by indices into one table of 2^`bits` values.

    With the inputs' second moments `products`, each index makes up for the rounding of those before it.
    """
    weight = layer.weight.data
    rows = weight.flatten(1)
    centres = k_means(rows.flatten(), 2**bits)
    bounds = (centres[1:] + centres[:-1]) / 2
    if products is not None:
        rows = compensated(rows, products, lambda _, values: centres[torch.bucketize(values.contiguous(), bounds)])
    # As the tensor's dequantize wants them: a cast of theirs in the graph is one that Core ML has not for 8 bits.
    codes = torch.bucketize(rows, bounds, out_int32=True).reshape(weight.shape)
    table = centres.reshape(*(1,) * weight.dim(), -1, 1)
    stored = CodebookQuantizedTensor(
        codes, table, getattr(torch, f"uint{bits}"), list(weight.shape), weight.shape, dtype=weight.dtype
    )
    layer.weight = nn.Parameter(stored, requires_grad=False)


def k_means(values: Tensor, count: int) -> Tensor:
    """`count` centres (count,), ascending, each the mean of the `values` (N,) nearest to it: Lloyd's algorithm.

    Values of one dimension are sorted once, so that an iteration is a search for the borders and two differences of
    running sums.
    """
    ordered = values.double().sort().values
    running, squares = (F.pad(sums.cumsum(0), (1, 0)) for sums in (ordered, ordered.square()))
    # Half by rank and half by value: by rank alone the rare large weights start without a centre near them.
    ranks = ((torch.arange(count) + 0.5) / count * len(ordered)).long()
    centres = (ordered[ranks] + torch.linspace(float(ordered[0]), float(ordered[-1]), count, dtype=torch.float64)) / 2
    for _ in range(_ITERATIONS):
        inner = torch.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2)
        borders = F.pad(F.pad(inner, (1, 0)), (0, 1), value=len(ordered))
        members = borders.diff()
        means = running[borders].diff() / members
        idle = (members == 0).nonzero()[:, 0]
        if len(idle):  # nearest to nothing: they go where the error is largest
            errors = squares[borders].diff() - members * means.square()
            worst = errors.nan_to_num(0).topk(len(idle)).indices
            means[idle] = ordered[borders[worst + 1] - 1]
        centres = means.sort().values
    return centres.to(values.dtype)


@CodebookQuantizedTensor.implements_torch_function([F.conv2d])  # type: ignore[untyped-decorator]
def _convolve(func: Any, types: Any, args: Any, kwargs: Any) -> Tensor:
    given, weight, *others = args
    return F.conv2d(given, weight.dequantize(), *others, **(kwargs or {}))
