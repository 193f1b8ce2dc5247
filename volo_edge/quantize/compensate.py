"""Rounding weights so that the error of each is made up for by those not yet rounded.

Of the integers, or the values of a table, that may stand for a layer's weights, the nearest are not the best: what
counts is the layer's output on real inputs x. GPTQ (Frantar et al. 2023, arXiv:2210.17323) minimizes
E |W x - Q x|^2 column by column: after a column is rounded, its error is spread over the columns to come along the
inverse of the second moments of x.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

DAMPING = 0.01  # of the mean second moment, added to each: keeps the inverse finite where inputs are never seen
_BLOCK = 128  # columns whose errors are spread among themselves first, then over the rest in one product


def compensated(weight: Tensor, products: Tensor, round_column: Callable[[int, Tensor], Tensor]) -> Tensor:
    """`weight` (outputs, inputs) with every column replaced by what `round_column` makes of it, errors made up for.

    Args:
        weight: float, on any scale.
        products: (inputs, inputs), the sum of x x^T over calibration inputs x; its scale does not matter.
        round_column: of a column's number and its values (outputs,), the values that may be stored.
    """
    upper = _inverse_root(products)
    left = weight.float().clone()
    result = torch.empty_like(left)
    for start in range(0, left.shape[1], _BLOCK):
        stop = min(start + _BLOCK, left.shape[1])
        block, inner = left[:, start:stop], upper[start:stop, start:stop]
        errors = torch.empty_like(block)
        for column in range(stop - start):
            values = block[:, column]
            rounded = round_column(start + column, values)
            result[:, start + column] = rounded
            errors[:, column] = (values - rounded) / inner[column, column]
            block[:, column + 1 :] -= errors[:, column : column + 1] * inner[column, column + 1 :]
        left[:, stop:] -= errors @ upper[start:stop, stop:]
    return result


def _inverse_root(products: Tensor) -> Tensor:
    """Upper U with U^T U the inverse of the damped `products`; float32, computed in float64."""
    moments = products.double()
    damping = DAMPING * moments.diagonal().mean()
    if damping == 0:  # a layer that was given nothing but zeros
        return torch.eye(len(moments))
    moments = moments + damping * torch.eye(len(moments), dtype=torch.float64)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(moments))
    upper: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return upper.float()
