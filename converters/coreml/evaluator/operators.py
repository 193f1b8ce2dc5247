"""The operators of an ML program, each a small function of torch, in a table by its MIL name.

Names, parameters and defaults are MIL's, and what an operator means is in the documentation of coremltools'
`converters/mil/mil/ops/defs`; a docstring here says what that leaves open. Tensors of real numbers arrive in float32.
Constants that are scalars, or vectors of integers or booleans, arrive as Python values, because they are mostly axes,
shapes and switches. An operator that makes several values gives a tuple.
"""

# ruff: noqa: D103 -- the operators are documented where they are defined

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

Ints = Sequence[int]
# What may have been computed or be a constant.
Vector = Tensor | Ints
Operand = Tensor | float | Sequence[float]

OPERATORS: dict[str, Callable[..., Any]] = {}
_Function = TypeVar("_Function", bound=Callable[..., Any])


def _operator(function: _Function) -> _Function:
    """Puts `function` into the table by its name."""
    OPERATORS[function.__name__] = function
    return function


# Types in which each MIL type is computed.
TORCH_TYPES: dict[str, torch.dtype] = {
    "fp16": torch.float32,
    "fp32": torch.float32,
    "fp64": torch.float64,
    "bool": torch.bool,
    "uint8": torch.uint8,
    "int8": torch.int8,
    "int16": torch.int16,
    "uint16": torch.int32,
    "int32": torch.int32,
    "uint32": torch.int64,
    "int64": torch.int64,
} | {
    name: torch.int8 if name == "int4" else torch.uint8
    for name in ("int4", "uint1", "uint2", "uint3", "uint4", "uint6")
}


def _tensor(value: Operand) -> Tensor:
    """A tensor, for the few functions of torch that take no Python value."""
    if isinstance(value, Tensor):
        return value
    made = torch.as_tensor(value)
    return made.int() if made.dtype == torch.int64 else made


def _ints(values: Vector) -> list[int]:
    """A vector that may have been computed, as integers."""
    return [int(value) for value in (values.flatten().tolist() if isinstance(values, Tensor) else values)]


def _along(values: Operand, rank: int, axis: int | None) -> Tensor:
    """A scalar as it is; a vector with as many axes as a tensor of `rank`, all of size 1 but `axis`."""
    values = _tensor(values)
    if values.ndim == 0:
        return values
    shape = [1] * rank
    shape[axis if axis is not None else 0] = -1
    return values.reshape(shape)


def _repeated(values: Tensor, shape: Sequence[int]) -> Tensor:
    """`values` with each of its elements repeated so often along each axis that the result has `shape`."""
    for axis, size in enumerate(shape):
        if 1 < values.shape[axis] < size:  # one of size 1 is left to broadcasting
            values = values.repeat_interleave(size // values.shape[axis], axis)
    return values


# --- arithmetic ---


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Operand, Operand], Tensor]:
    return lambda x, y: function(_tensor(x), _tensor(y))


def _unary(function: Callable[[Tensor], Tensor]) -> Callable[[Operand], Tensor]:
    return lambda x: function(_tensor(x))


@_operator
def real_div(x: Operand, y: Operand) -> Tensor:
    x, y = _tensor(x), _tensor(y)
    return torch.div(x, y, rounding_mode=None if x.is_floating_point() else "trunc")


@_operator
def cast(x: Operand, dtype: str) -> Tensor:
    """To the type that the evaluator gives every output; real numbers lose their fraction on the way to integers."""
    x = _tensor(x)
    return x != 0 if dtype == "bool" else x.to(TORCH_TYPES[dtype])


@_operator
def clip(x: Operand, alpha: float, beta: float) -> Tensor:
    return _tensor(x).clamp(alpha, beta)


@_operator
def threshold(x: Tensor, alpha: float) -> Tensor:
    return x.clamp_min(alpha)


@_operator
def rsqrt(x: Operand, epsilon: float = 1e-12) -> Tensor:
    return torch.rsqrt(_tensor(x) + epsilon)


@_operator
def log(x: Operand, epsilon: float = 1e-45) -> Tensor:
    return torch.log(_tensor(x) + epsilon)


@_operator
def inverse(x: Operand, epsilon: float = 1e-4) -> Tensor:
    return torch.reciprocal(_tensor(x) + epsilon)


@_operator
def select(cond: Operand, a: Operand, b: Operand) -> Tensor:
    return torch.where(_tensor(cond), _tensor(a), _tensor(b))


# --- activations ---

_GELU: dict[str, Callable[[Tensor], Tensor]] = {
    "EXACT": F.gelu,
    "TANH_APPROXIMATION": lambda x: F.gelu(x, approximate="tanh"),
    "SIGMOID_APPROXIMATION": lambda x: x * torch.sigmoid(1.702 * x),
}


@_operator
def gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    return _GELU[mode](x)


@_operator
def leaky_relu(x: Tensor, alpha: float) -> Tensor:
    return F.leaky_relu(x, alpha)


@_operator
def prelu(x: Tensor, alpha: Tensor) -> Tensor:
    return torch.where(x > 0, x, x * _along(alpha, x.ndim, 1))


@_operator
def elu(x: Tensor, alpha: float) -> Tensor:
    return F.elu(x, alpha)


@_operator
def sigmoid_hard(x: Tensor, alpha: float, beta: float) -> Tensor:
    return (alpha * x + beta).clamp(0, 1)


@_operator
def scaled_tanh(x: Tensor, alpha: float, beta: float) -> Tensor:
    return alpha * torch.tanh(beta * x)


@_operator
def linear_activation(x: Tensor, alpha: float, beta: float) -> Tensor:
    return alpha * x + beta


@_operator
def clamped_relu(x: Tensor, alpha: float, beta: float) -> Tensor:
    return torch.where(x >= 0, x, alpha * x).clamp_max(beta)


@_operator
def thresholded_relu(x: Tensor, alpha: float) -> Tensor:
    return torch.where(x >= alpha, x, torch.zeros_like(x))


@_operator
def softplus_parametric(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return _along(alpha, x.ndim, 1) * F.softplus(_along(beta, x.ndim, 1) * x)


@_operator
def softmax(x: Tensor, axis: int = -1) -> Tensor:
    return torch.softmax(x, axis)


# --- products ---


def _paddings(
    pad_type: str, pad: Ints | None, sizes: Ints, kernel: Ints, strides: Ints, dilations: Ints
) -> list[tuple[int, int]]:
    """Zeros (before, after) each spatial axis of `sizes`."""
    if pad_type == "valid" or (pad_type == "custom" and pad is None):
        return [(0, 0)] * len(sizes)
    if pad_type == "custom":
        return list(zip(pad[::2], pad[1::2], strict=True)) if pad is not None else []
    paddings = []
    for size, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        total = max(0, (math.ceil(size / stride) - 1) * stride + (width - 1) * dilation + 1 - size)
        few, many = total // 2, total - total // 2
        paddings.append({"same": (few, many), "same_lower": (many, few)}[pad_type])
    return paddings


def _padded(x: Tensor, paddings: list[tuple[int, int]], value: float = 0.0) -> Tensor:
    """With `paddings` around the last axes; negative ones cut."""
    if not any(before or after for before, after in paddings):
        return x
    return F.pad(x, [amount for pair in reversed(paddings) for amount in pair], value=value)


_CONVOLUTIONS: tuple[Callable[..., Tensor], ...] = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED: tuple[Callable[..., Tensor], ...] = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


@_operator
def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
) -> Tensor:
    """`x` (n, C, *D), `weight` (C_out, C / groups, *K)."""
    axes = x.ndim - 2
    strides, dilations = strides or [1] * axes, dilations or [1] * axes
    kernel = weight.shape[2:]
    unpadded = pad_type == "valid" or (pad_type == "custom" and not any(pad or ()))
    if prod(kernel) == prod(strides) == groups == 1 and unpadded:
        # a product of matrices, without what a convolution costs torch to set up
        flat = torch.matmul(weight.flatten(1), x.flatten(2))
        return (flat if bias is None else flat.add_(bias[:, None])).reshape(x.shape[0], -1, *x.shape[2:])
    paddings = _paddings(pad_type, pad, x.shape[2:], kernel, strides, dilations)
    if any(before != after for before, after in paddings):
        x, paddings = _padded(x, paddings), [(0, 0)] * axes
    before = [pair[0] for pair in paddings]
    return _CONVOLUTIONS[axes - 1](x, weight, bias, strides, before, dilations, groups)


@_operator
def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    pad: Ints | None = None,
    output_shape: Ints | None = None,
    pad_type: str = "valid",
    strides: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
) -> Tensor:
    """`x` (n, C, *D), `weight` (C, C_out / groups, *K): all that the kernel reaches, cut to the shape asked for.

    What `output_shape` adds beyond the kernel's reach is zeros, before the bias.
    """
    axes = x.ndim - 2
    strides, dilations = strides or [1] * axes, dilations or [1] * axes
    full = _TRANSPOSED[axes - 1](x, weight, None, strides, 0, 0, groups, dilations)
    cuts = []
    for axis in range(axes):
        reached = full.shape[2 + axis]
        if pad_type == "same":
            size = output_shape[2 + axis] if output_shape else x.shape[2 + axis] * strides[axis]
            before = max(0, reached - size) // 2
        else:
            before, after = (pad[2 * axis], pad[2 * axis + 1]) if pad and pad_type == "custom" else (0, 0)
            size = output_shape[2 + axis] if output_shape else reached - before - after
        cuts.append((-before, size + before - reached))
    cut = _padded(full, cuts)
    return cut if bias is None else cut + _along(bias, x.ndim, 1)


@_operator
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(x, weight, bias)


@_operator
def matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    return torch.matmul(x.mT if transpose_x else x, y.mT if transpose_y else y)


@_operator
def einsum(values: Sequence[Tensor], equation: str) -> Tensor:
    return torch.einsum(equation, *values)


@_operator
def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Operand | None = None) -> Tensor:
    """(B, *, L, E), (B, *, S, E), (B, *, S, EV) to (B, *, L, EV); a mask of booleans says which take part."""
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    if attn_mask is not None:
        mask = _tensor(attn_mask)
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    return torch.softmax(scores, -1) @ value


# --- norms ---


@_operator
def layer_norm(
    x: Tensor,
    axes: Ints | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """`gamma` and `beta` have the sizes of `axes`."""
    normed = sorted(axis % x.ndim for axis in axes) if axes is not None else list(range(x.ndim))
    sizes = [x.shape[axis] for axis in normed]
    if normed == list(range(x.ndim - len(normed), x.ndim)):
        return F.layer_norm(x, sizes, gamma, beta, epsilon)
    variance, mean = torch.var_mean(x, normed, correction=0, keepdim=True)
    x = (x - mean).mul_(variance.add_(epsilon).rsqrt_())
    shape = [size if axis in normed else 1 for axis, size in enumerate(x.shape)]
    x = x if gamma is None else x * gamma.reshape(shape)
    return x if beta is None else x + beta.reshape(shape)


@_operator
def batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    return F.batch_norm(x, mean, variance, gamma, beta, eps=epsilon)


@_operator
def instance_norm(x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: float = 1e-5) -> Tensor:
    return F.instance_norm(x, weight=gamma, bias=beta, eps=epsilon)


@_operator
def l2_norm(x: Tensor, epsilon: float = 1e-6) -> Tensor:
    return x / torch.sqrt(x.square().sum((-3, -2, -1), keepdim=True) + epsilon)


# --- pools ---

_MAX_POOLS: tuple[Callable[..., Tensor], ...] = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
_AVERAGE_POOLS: tuple[Callable[..., Tensor], ...] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


def _overhangs(
    sizes: Ints, paddings: list[tuple[int, int]], kernel: Ints, strides: Ints, ceil_mode: bool
) -> list[tuple[int, int]]:
    """What a last, partial window needs (before, after) each axis besides its padding."""
    overhangs = []
    for size, (before, after), width, stride in zip(sizes, paddings, kernel, strides, strict=True):
        room = size + before + after - width
        windows = (math.ceil(room / stride) if ceil_mode else room // stride) + 1
        if ceil_mode and (windows - 1) * stride >= size + before and before + after > 0:
            windows -= 1  # it would begin in the padding
        overhangs.append((0, max(0, (windows - 1) * stride - room)))
    return overhangs


@_operator
def max_pool(
    x: Tensor,
    kernel_sizes: Ints,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    axes = x.ndim - 2
    strides = strides or [1] * axes
    paddings = _paddings(pad_type, pad, x.shape[2:], kernel_sizes, strides, [1] * axes)
    overhangs = _overhangs(x.shape[2:], paddings, kernel_sizes, strides, ceil_mode)
    x = _padded(_padded(x, paddings, -math.inf), overhangs, -math.inf)
    return _MAX_POOLS[axes - 1](x, kernel_sizes, strides)


@_operator
def avg_pool(
    x: Tensor,
    kernel_sizes: Ints,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> Tensor:
    """A window's divisor counts the padding unless that is excluded, and never what hangs over the padding."""
    axes = x.ndim - 2
    pool = _AVERAGE_POOLS[axes - 1]
    strides = strides or [1] * axes
    paddings = _paddings(pad_type, pad, x.shape[2:], kernel_sizes, strides, [1] * axes)
    overhangs = _overhangs(x.shape[2:], paddings, kernel_sizes, strides, ceil_mode)
    average = pool(_padded(_padded(x, paddings), overhangs), kernel_sizes, strides)
    uncounted = [*overhangs, *paddings] if exclude_padding_from_average else overhangs
    if not any(before or after for before, after in uncounted):
        return average
    counted = _padded(torch.ones_like(x[:1, :1]), paddings, 0.0 if exclude_padding_from_average else 1.0)
    return average / pool(_padded(counted, overhangs), kernel_sizes, strides)


@_operator
def l2_pool(x: Tensor, **options: Any) -> Tensor:
    return torch.sqrt(avg_pool(x.square(), **options) * prod(options["kernel_sizes"]))


# --- reductions ---


def _reduction(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Of a function (x, axes, keepdim): over all axes where none are named."""

    def reduce(x: Operand, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
        x = _tensor(x)
        return function(x, list(axes) if axes is not None else list(range(x.ndim)), keep_dims)

    return reduce


def _product(x: Tensor, axes: list[int], keep_dims: bool) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep_dims)
    return x


@_operator
def reduce_argmax(x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Tensor:
    return x.argmax(axis, keep_dims)


@_operator
def reduce_argmin(x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Tensor:
    return x.argmin(axis, keep_dims)


# --- shapes ---


@_operator
def reshape(x: Operand, shape: Vector) -> Tensor:
    """A size of 0 is that of `x`."""
    x = _tensor(x)
    return x.reshape([size or x.shape[axis] for axis, size in enumerate(_ints(shape))])


@_operator
def expand_dims(x: Operand, axes: Ints) -> Tensor:
    x = _tensor(x)
    for axis in sorted(axis % (x.ndim + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


@_operator
def squeeze(x: Tensor, axes: Ints | None = None) -> Tensor:
    """Axes that are not of size 1 stay."""
    return x.squeeze(tuple(axes)) if axes is not None else x.squeeze()


@_operator
def transpose(x: Tensor, perm: Ints) -> Tensor:
    return x.permute(*perm)


@_operator
def concat(values: Sequence[Operand], axis: int, interleave: bool = False) -> Tensor:
    tensors = [_tensor(value) for value in values]
    if not interleave:
        return torch.cat(tensors, axis)
    axis %= tensors[0].ndim
    return torch.stack(tensors, axis + 1).flatten(axis, axis + 1)


@_operator
def stack(values: Sequence[Operand], axis: int) -> Tensor:
    return torch.stack([_tensor(value) for value in values], axis)


@_operator
def split(x: Tensor, axis: int, num_splits: int | None = None, split_sizes: Ints | None = None) -> tuple[Tensor, ...]:
    if split_sizes is None:
        split_sizes = [x.shape[axis] // (num_splits or 1)] * (num_splits or 1)
    return torch.split(x, list(split_sizes), axis)


@_operator
def slice_by_index(
    x: Operand,
    begin: Vector,
    end: Vector,
    stride: Ints | None = None,
    begin_mask: Sequence[bool] | None = None,
    end_mask: Sequence[bool] | None = None,
    squeeze_mask: Sequence[bool] | None = None,
) -> Tensor:
    """Slices as Python's; a mask leaves `begin` or `end` open, or takes the one element at `begin`."""
    x = _tensor(x)
    begins, ends = _ints(begin), _ints(end)
    dropped = 0
    for i, (size, first, last) in enumerate(zip(x.shape, begins, ends, strict=True)):
        axis = i - dropped
        if squeeze_mask is not None and squeeze_mask[i]:
            x = x.select(axis, 0 if begin_mask is not None and begin_mask[i] else first)
            dropped += 1
            continue
        taken = range(size)[
            slice(
                None if begin_mask is not None and begin_mask[i] else first,
                None if end_mask is not None and end_mask[i] else last,
                stride[i] if stride is not None else 1,
            )
        ]
        if taken == range(size):
            continue
        x = x.narrow(axis, min(taken, default=0), abs(taken[-1] - taken[0]) + 1 if taken else 0)
        if taken.step < 0:
            x = x.flip(axis)
        if abs(taken.step) > 1:
            x = x[(slice(None),) * axis + (slice(None, None, abs(taken.step)),)]
    return x


@_operator
def slice_by_size(x: Tensor, begin: Vector, size: Vector) -> Tensor:
    """A size of -1 takes all that is left."""
    for axis, (first, length) in enumerate(zip(_ints(begin), _ints(size), strict=True)):
        first %= max(1, x.shape[axis])
        x = x.narrow(axis, first, x.shape[axis] - first if length == -1 else length)
    return x


@_operator
def crop(x: Tensor, crop_height: Ints, crop_width: Ints) -> Tensor:
    (top, bottom), (left, right) = crop_height, crop_width
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


_OUTSIDE: dict[str, Callable[[Tensor, int], Tensor]] = {
    "reflect": lambda index, size: (size - 1) - ((size - 1) - index.abs()).abs(),
    "replicate": lambda index, size: index.clamp(0, size - 1),
}


@_operator
def pad(x: Tensor, pad: Vector, mode: str = "constant", constant_val: float = 0.0) -> Tensor:
    """`pad` is (before, after) of each of the last axes."""
    amounts = _ints(pad)
    pairs = list(zip(amounts[::2], amounts[1::2], strict=True))
    if mode == "constant":
        return _padded(x, pairs, constant_val)
    for axis, (before, after) in enumerate(pairs, x.ndim - len(pairs)):
        if before or after:
            size = x.shape[axis]
            x = x.index_select(axis, _OUTSIDE[mode](torch.arange(-before, size + after), size))
    return x


@_operator
def tile(x: Operand, reps: Vector) -> Tensor:
    return _tensor(x).repeat(_ints(reps))


@_operator
def reverse(x: Tensor, axes: Ints | None = None) -> Tensor:
    return x.flip(list(axes) if axes is not None else list(range(x.ndim)))


@_operator
def flatten2d(x: Tensor, axis: int = 1) -> Tensor:
    return x.reshape(prod(x.shape[:axis]), -1)


@_operator
def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    return F.pixel_shuffle(x, upscale_factor)


@_operator
def pixel_unshuffle(x: Tensor, downscale_factor: int) -> Tensor:
    return F.pixel_unshuffle(x, downscale_factor)


@_operator
def depth_to_space(x: Tensor, block_size: int) -> Tensor:
    """Channels are (row in the block, column in the block, channel)."""
    n, c, h, w = x.shape
    blocks = x.reshape(n, block_size, block_size, c // block_size**2, h, w)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(n, -1, h * block_size, w * block_size)


@_operator
def space_to_depth(x: Tensor, block_size: int) -> Tensor:
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // block_size, block_size, w // block_size, block_size)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(n, -1, h // block_size, w // block_size)


@_operator
def sliding_windows(x: Tensor, axis: int, size: int, stride: int = 1) -> Tensor:
    axis %= x.ndim
    return x.unfold(axis, size, stride).movedim(-1, axis + 1)


@_operator
def shape(x: Tensor) -> Tensor:
    return torch.tensor(x.shape, dtype=torch.int32)


@_operator
def fill(shape: Vector, value: Operand = 0.0) -> Tensor:
    return _tensor(value).expand(_ints(shape))


@_operator
def gather(x: Operand, indices: Operand, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    """The elements of `x` at `indices`, which stand in place of `axis`; negative ones count from the end."""
    if batch_dims:
        raise NotImplementedError("batch_dims")
    x, indices = _tensor(x), _tensor(indices).long()
    axis %= x.ndim
    taken = x.index_select(axis, indices.flatten() % x.shape[axis])
    return taken.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


@_operator
def gather_along_axis(x: Tensor, indices: Tensor, axis: int = 0, validate_indices: bool = False) -> Tensor:
    return torch.gather(x, axis, indices.long() % x.shape[axis])


@_operator
def topk(
    x: Tensor,
    k: int = 1,
    axis: int = -1,
    ascending: bool = False,
    sort: bool = True,
    return_indices: bool = True,
    output_indices_dtype: str = "int32",
) -> tuple[Tensor, ...]:
    """The `k` largest, or smallest where `ascending`; which of equal ones come first is not defined."""
    return tuple(torch.topk(x, k, axis, largest=not ascending, sorted=sort))[: 2 if return_indices else 1]


@_operator
def cumsum(x: Tensor, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
    x = x.flip(axis) if reverse else x
    total = x.cumsum(axis) - (x if exclusive else 0)
    return total.flip(axis) if reverse else total


# --- image sizes ---


def _upsampled(x: Tensor, height: float, width: float) -> tuple[int, int]:
    return math.floor(x.shape[-2] * height), math.floor(x.shape[-1] * width)


def _nearest(x: Tensor, size: Ints) -> Tensor:
    rows, columns = (torch.arange(out) * of // out for of, out in zip(x.shape[-2:], size, strict=True))
    return x.index_select(-2, rows).index_select(-1, columns)


@_operator
def upsample_nearest_neighbor(x: Tensor, scale_factor_height: float = 1, scale_factor_width: float = 1) -> Tensor:
    return _nearest(x, _upsampled(x, scale_factor_height, scale_factor_width))


@_operator
def resize_nearest_neighbor(x: Tensor, target_size_height: int, target_size_width: int) -> Tensor:
    return _nearest(x, (target_size_height, target_size_width))


# Where each of `out` samples lies on an axis of `size`, from the documentation of resize_bilinear.
_GRIDS: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "STRICT_ALIGN_CORNERS": lambda i, size, out: i * (size - 1) / max(1, out - 1),
    "ALIGN_CORNERS": lambda i, size, out: i * (size - 1) / (out - 1) if out > 1 else i + (size - 1) / 2,
    "DEFAULT": lambda i, size, out: i * (size - size / out) / max(1, out - 1),
    "OFFSET_CORNERS": lambda i, size, out: (i + 0.5) * max(1, size - 1) / out,
    "UNALIGN_CORNERS": lambda i, size, out: (i + 0.5) * size / out - 0.5,
}


def _blend(size: int, out: int, mode: str) -> Tensor:
    """The matrix (out, size) that samples an axis of `size` linearly."""
    points = _GRIDS[mode](torch.arange(out, dtype=torch.float64), size, out).clamp(0, size - 1)
    distances = (points[:, None] - torch.arange(size)).abs()
    return (1 - distances).clamp_min(0).float()


@_operator
def resize_bilinear(
    x: Tensor, target_size_height: int = 1, target_size_width: int = 1, sampling_mode: str = "DEFAULT"
) -> Tensor:
    rows = _blend(x.shape[-2], target_size_height, sampling_mode)
    return rows @ x @ _blend(x.shape[-1], target_size_width, sampling_mode).T


@_operator
def upsample_bilinear(
    x: Tensor,
    scale_factor_height: float = 1,
    scale_factor_width: float = 1,
    align_corners: bool = True,
    half_pixel_centers: bool | None = None,
) -> Tensor:
    """Scales are those of the rounded sizes; half pixels are the default where corners are not aligned."""
    half_pixels = not align_corners if half_pixel_centers is None else half_pixel_centers
    mode = "STRICT_ALIGN_CORNERS" if align_corners else "UNALIGN_CORNERS" if half_pixels else "DEFAULT"
    return resize_bilinear(x, *_upsampled(x, scale_factor_height, scale_factor_width), mode)


# --- quantization and compressed constants ---

_RANGES = {"int8": (-128, 127), "uint8": (0, 255)}


@_operator
def quantize(
    input: Tensor, scale: Operand, output_dtype: str, zero_point: Operand = 0, axis: int | None = None
) -> Tensor:
    """clip(round(input / scale) + zero_point), halves to even."""
    steps = torch.round(input / _along(scale, input.ndim, axis)) + _along(zero_point, input.ndim, axis)
    return steps.clamp(*_RANGES[output_dtype])


@_operator
def dequantize(input: Tensor, scale: Operand, zero_point: Operand = 0, axis: int | None = None) -> Tensor:
    return (input.float() - _along(zero_point, input.ndim, axis)) * _along(scale, input.ndim, axis)


@_operator
def constexpr_affine_dequantize(quantized_data: Tensor, scale: Operand, zero_point: Operand, axis: int) -> Tensor:
    return dequantize(quantized_data, scale, zero_point, axis)


@_operator
def constexpr_blockwise_shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """Blocks along each axis share a scale: as many as fit the sizes of `data` and `scale`."""
    shifted = data.float() if offset is None else data.float() - _repeated(offset.float(), data.shape)
    return shifted * _repeated(scale, data.shape)


@_operator
def constexpr_cast(source_val: Operand, output_dtype: str) -> Tensor:
    return cast(source_val, output_dtype)


@_operator
def constexpr_lut_to_dense(
    indices: Tensor, lut: Tensor, shape: Ints | None = None, vector_axis: int | None = None
) -> Tensor:
    """iOS 16: packed `indices` into one table. iOS 18: `lut` (*groups, palettes, vector), a table for each group."""
    if shape is not None:
        bits = int(math.log2(len(lut)))
        return lut[_unpacked(indices, bits, prod(shape)).long()].reshape(list(shape))
    vector = lut.shape[-1]
    groups = lut.shape[:-2]
    tables = lut.reshape(-1, lut.shape[-2], vector)
    number = torch.arange(len(tables)).reshape(groups)
    number = _repeated(number, indices.shape).expand(indices.shape)
    dense = tables[number, indices.long()]
    if vector == 1:
        return dense[..., 0]
    axis = (vector_axis or 0) % indices.ndim
    return dense.movedim(-1, axis + 1).flatten(axis, axis + 1)


@_operator
def constexpr_sparse_to_dense(nonzero_data: Tensor, mask: Tensor, shape: Ints | None = None) -> Tensor:
    """iOS 16: `mask` packed, a bit for each element of `shape`. iOS 18: `mask` of the shape itself."""
    if shape is not None:
        mask = _unpacked(mask, 1, prod(shape)).reshape(list(shape))
    dense = torch.zeros(mask.shape, dtype=nonzero_data.dtype)
    dense[mask != 0] = nonzero_data
    return dense


@_operator
def constexpr_lut_to_sparse(
    indices_mask: Tensor, indices_nonzero_data: Tensor, lut: Tensor, vector_axis: int | None = None
) -> tuple[Tensor, Tensor]:
    if lut.shape[-1] != 1:
        raise NotImplementedError("vectors in a sparse table")
    dense = constexpr_lut_to_dense(constexpr_sparse_to_dense(indices_nonzero_data, indices_mask), lut)
    return indices_mask, dense[indices_mask != 0]


@_operator
def constexpr_sparse_blockwise_shift_scale(
    data_mask: Tensor, nonzero_data: Tensor, scale: Tensor, offset: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    dense = constexpr_blockwise_shift_scale(constexpr_sparse_to_dense(nonzero_data, data_mask), scale, offset)
    return data_mask, dense[data_mask != 0]


def _unpacked(data: Tensor, bits: int, count: int) -> Tensor:
    """The first `count` numbers of `bits` each in bytes filled from the lowest bit up."""
    places = (data.long()[:, None] >> torch.arange(8)) & 1
    each = places.flatten()[: count * bits].reshape(count, bits)
    return (each << torch.arange(bits)).sum(1)


@_operator
def classify(probabilities: Tensor, classes: Sequence[Any]) -> tuple[Any, dict[Any, float]]:
    """The likeliest class, and the probability of each."""
    values = probabilities.flatten()
    return classes[int(values.argmax())], dict(zip(classes, values.tolist(), strict=True))


_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "acos": torch.acos,
    "asin": torch.asin,
    "atan": torch.atan,
    "atanh": torch.atanh,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "cosh": torch.cosh,
    "erf": torch.erf,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "floor": torch.floor,
    "identity": lambda x: x,
    "logical_not": torch.logical_not,
    "relu": torch.relu,
    "relu6": F.relu6,
    "round": torch.round,
    "sigmoid": torch.sigmoid,
    "sign": torch.sign,
    "silu": F.silu,
    "sin": torch.sin,
    "sinh": torch.sinh,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tan": torch.tan,
    "tanh": torch.tanh,
}
OPERATORS |= {name: _unary(function) for name, function in _UNARY.items()}
_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "equal": torch.eq,
    "floor_div": torch.floor_divide,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "mod": torch.remainder,
    "mul": torch.mul,
    "not_equal": torch.ne,
    "pow": torch.pow,
    "sub": torch.sub,
}
OPERATORS |= {name: _binary(function) for name, function in _BINARY.items()}
_REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "l1_norm": lambda x, axes, keep: x.abs().sum(axes, keep),
    "l2_norm": lambda x, axes, keep: x.square().sum(axes, keep).sqrt(),
    "log_sum": lambda x, axes, keep: x.sum(axes, keep).log(),
    "log_sum_exp": torch.logsumexp,
    "max": torch.amax,
    "mean": torch.mean,
    "min": torch.amin,
    "prod": _product,
    "sum": torch.sum,
    "sum_square": lambda x, axes, keep: x.square().sum(axes, keep),
}
OPERATORS |= {f"reduce_{name}": _reduction(function) for name, function in _REDUCTIONS.items()}
# They only move values, or choose among them: what was rounded stays so.
MOVES = frozenset(
    {
        "concat",
        "crop",
        "depth_to_space",
        "expand_dims",
        "fill",
        "flatten2d",
        "gather",
        "gather_along_axis",
        "identity",
        "max_pool",
        "maximum",
        "minimum",
        "pixel_shuffle",
        "pixel_unshuffle",
        "reduce_max",
        "reduce_min",
        "relu",
        "reshape",
        "resize_nearest_neighbor",
        "reverse",
        "select",
        "slice_by_index",
        "slice_by_size",
        "sliding_windows",
        "space_to_depth",
        "split",
        "squeeze",
        "stack",
        "tile",
        "transpose",
        "upsample_nearest_neighbor",
    }
)
