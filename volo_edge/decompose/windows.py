"""Unfold and fold, which no phone runtime has, out of operators that all of them have.

Two forms, each equal to `torch.nn.functional.unfold` and `fold`. A window of `kernel` x `kernel` taps starts every
`stride` positions of an image padded by `padding`; tap (i, j) of window (y, x) is position
(y stride + i - padding, x stride + j - padding).

- Slices, for tokens-last images (B, H, W, C): split by the remainder of row and column modulo the stride, so that each
  tap is one contiguous slice of one part. At stride 2 that is row and column parity, at stride 1 plain shifts.
- Convolutions, for channels-first images (B, C, H, W): a depthwise convolution whose kernels have a single one gathers
  the taps, and its transpose scatters them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """A sliding window over a grid of (height, width) positions."""

    height: int
    width: int
    kernel: int
    padding: int
    stride: int

    @property
    def taps(self) -> int:
        return self.kernel**2

    @property
    def rows(self) -> int:
        """Windows down the grid."""
        return (self.height + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def columns(self) -> int:
        """Windows across the grid."""
        return (self.width + 2 * self.padding - self.kernel) // self.stride + 1


def own_tokens(window: Window) -> Tensor:
    """Tokens of its own that each window has, `stride` x `stride` but at a short end: float64 (rows, columns)."""
    down, across = (
        (side - torch.arange(0, side, window.stride, dtype=torch.float64)).clamp(max=window.stride)
        for side in (window.height, window.width)
    )
    return down[:, None] * across


def unfold_slices(x: Tensor, window: Window) -> list[Tensor]:
    """The taps of every window, first row of taps first: `kernel`^2 tensors (B, rows, columns, C) of x (B, H, W, C)."""
    batch, _, _, channels = x.shape
    kernel, padding, stride, rows, columns = (
        window.kernel,
        window.padding,
        window.stride,
        window.rows,
        window.columns,
    )
    reach = (kernel - 1) // stride  # how many steps past its own a window's last tap lies
    tall, wide = rows + reach, columns + reach
    x = _fit(x, 1, padding, tall * stride)
    x = _fit(x, 2, padding, wide * stride)
    parts = x.reshape(batch, tall, stride, wide, stride * channels)
    taps = []
    for i in range(kernel):
        step, part = divmod(i, stride)
        row = parts[:, step : step + rows, part : part + 1].reshape(batch, rows, wide, stride * channels)
        for j in range(kernel):
            step, part = divmod(j, stride)
            taps.append(row[:, :, step : step + columns, part * channels : (part + 1) * channels])
    return taps


def fold_slices(taps: Sequence[Tensor], window: Window) -> Tensor:
    """The sum of every tap at its position: (B, H, W, C) of `kernel`^2 tensors (B, rows, columns, C)."""
    stride = window.stride
    tall, wide = -(-window.height // stride), -(-window.width // stride)
    parts: dict[tuple[int, int], Tensor] = {}
    for index, tap in enumerate(taps):
        i, j = divmod(index, window.kernel)
        down, row_part = divmod(i - window.padding, stride)
        right, column_part = divmod(j - window.padding, stride)
        tap = _fit(_fit(tap, 1, down, tall), 2, right, wide)
        part = (row_part, column_part)
        parts[part] = parts[part] + tap if part in parts else tap
    batch, _, _, channels = taps[0].shape
    missing = None if len(parts) == stride**2 else torch.zeros_like(next(iter(parts.values())))
    # Parts side by side in the last axis are neighbours in memory: joining them interleaves columns, then rows.
    rows = []
    for row_part in range(stride):
        columns = [parts.get((row_part, column_part), missing) for column_part in range(stride)]
        rows.append(torch.cat(columns, -1).reshape(batch, tall, wide * stride * channels))
    x = torch.cat(rows, -1).reshape(batch, tall * stride, wide * stride, channels)
    return _fit(_fit(x, 1, 0, window.height), 2, 0, window.width)


def one_hot_kernels(channels: int, window: Window, dtype: torch.dtype = torch.float32) -> Tensor:
    """Weights (C kernel^2, 1, kernel, kernel) that copy one tap each, for the two functions below."""
    taps, kernel = window.taps, window.kernel
    return torch.eye(taps, dtype=dtype).reshape(taps, 1, kernel, kernel).repeat(channels, 1, 1, 1)


def unfold_convolution(x: Tensor, kernels: Tensor, window: Window) -> Tensor:
    """(B, C kernel^2, rows, columns) of x (B, C, H, W), in `unfold`'s order: the taps of one channel together."""
    return F.conv2d(x, kernels, stride=window.stride, padding=window.padding, groups=x.shape[1])


def fold_convolution(x: Tensor, kernels: Tensor, window: Window) -> Tensor:
    """(B, C, H, W) of x (B, C kernel^2, rows, columns), the inverse arrangement with overlaps summed."""
    stride, margin = window.stride, window.kernel - 2 * window.padding
    extra = (
        window.height - ((window.rows - 1) * stride + margin),
        window.width - ((window.columns - 1) * stride + margin),
    )
    return F.conv_transpose2d(
        x, kernels, stride=stride, padding=window.padding, output_padding=extra, groups=x.shape[1] // window.taps
    )


def _fit(x: Tensor, axis: int, before: int, size: int) -> Tensor:
    """Shift x by `before` along `axis` of (B, H, W, C) and make that axis `size` long: zeros come in, the rest goes.

    Only slices of step 1 and pads of zero or more: XNNPACK has no others.
    """
    length = x.shape[axis]
    start = min(length, max(0, -before))
    stop = max(start, min(length, size - before))
    if (start, stop) != (0, length):
        x = x[:, start:stop] if axis == 1 else x[:, :, start:stop]
    before = min(size, max(0, before))
    after = size - before - (stop - start)
    if before or after:
        x = F.pad(x, (0, 0, 0, 0, before, after) if axis == 1 else (0, 0, before, after))
    return x
