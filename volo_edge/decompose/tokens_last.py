"""The edge model for XNNPACK: tokens last, (B, T, C), every operator one that XNNPACK takes.

XNNPACK (ExecuTorch 1.5) has no layer norm, no expand, no select or squeeze, no mean over the last axis of three, no
softmax but over the last axis, no slices with a step, no negative pad. So a mean is a linear with one output, an
attention product is a 3-D `bmm`, and windows are slices (`windows.unfold_slices`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from volo_edge import model as reference
from volo_edge.decompose.edge import Layout
from volo_edge.decompose.windows import Window, fold_slices, own_tokens, unfold_slices


class Mean(nn.Linear):
    """The mean over `width` channels, plus `bias`, as a linear of one output."""

    def __init__(self, width: int, bias: float | None) -> None:
        super().__init__(width, 1, bias=bias is not None, dtype=torch.float64)
        nn.init.constant_(self.weight, 1 / width)
        if bias is not None:
            nn.init.constant_(self.bias, bias)


class Norm(nn.Module):
    """Layer norm over the last axis without affine part; of a `centred` input, a division by the root mean square."""

    def __init__(self, width: int, eps: float, centred: bool) -> None:
        super().__init__()
        self.mean = None if centred else Mean(width, None)
        self.mean_square = Mean(width, eps)

    def forward(self, x: Tensor) -> Tensor:
        if self.mean is not None:
            x = x - self.mean(x)
        return x * torch.rsqrt(self.mean_square(x * x))


class OutlookAttention(nn.Module):
    """Outlook attention over (B, H W, C): windows as slices, one small matrix product for each window and head."""

    pool_factor: Tensor

    def __init__(self, attn: reference.OutlookAttention, window: Window) -> None:
        super().__init__()
        self.window = window
        self.heads = attn.num_heads
        self.v, self.attn, self.proj = attn.v, attn.attn, attn.proj
        self.register_buffer("pool_factor", (1 / own_tokens(window)).reshape(1, -1, 1))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        w, heads = self.window, self.heads
        windows, grid = batch * w.rows * w.columns, (batch, w.height, w.width, dim)

        values = torch.cat(unfold_slices(self.v(x).reshape(grid), w), -1)  # B, rows, columns, taps * C
        values = values.reshape(windows, w.taps, heads, dim // heads).permute(0, 2, 1, 3)
        values = values.reshape(windows * heads, w.taps, dim // heads)

        scores = self.attn(self._pooled(x.reshape(grid)))
        weights = scores.reshape(windows * heads, w.taps, w.taps).softmax(-1)

        mixed = torch.bmm(weights, values).reshape(windows, heads, w.taps, dim // heads).permute(2, 0, 1, 3)
        mixed = mixed.reshape(w.taps, w.rows * batch, w.columns, dim)
        taps = [mixed[tap : tap + 1].reshape(batch, w.rows, w.columns, dim) for tap in range(w.taps)]
        return self.proj(fold_slices(taps, w).reshape(batch, tokens, dim))

    def _pooled(self, x: Tensor) -> Tensor:
        """Mean of each window's own `stride` x `stride` tokens: (B, rows * columns, C) of (B, H, W, C)."""
        batch, height, width, dim = x.shape
        stride, rows, columns = self.window.stride, self.window.rows, self.window.columns
        if stride == 1:
            return x.reshape(batch, rows * columns, dim)
        if height % stride or width % stride:
            x = F.pad(x, (0, 0, 0, -width % stride, 0, -height % stride))
        parts = x.reshape(batch, rows, stride, columns * stride * dim)
        total = _sum([parts[:, :, row : row + 1] for row in range(stride)])
        parts = total.reshape(batch, rows * columns, stride, dim)
        total = _sum([parts[:, :, column : column + 1] for column in range(stride)])
        return total.reshape(batch, rows * columns, dim) * self.pool_factor


def patches(x: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """(B, patches, side * side * C) of pixels on a grid of (height, width), (B, height, width, C) or (B, tokens, C)."""
    batch, dim = x.shape[0], x.shape[-1]
    height, width = grid
    rows, columns = height // side, width // side
    x = x.reshape(batch, height, width, dim)
    if height % side or width % side:
        x = x[:, : rows * side, : columns * side]
    x = x.reshape(batch, rows, side, columns, side * dim).permute(0, 1, 3, 2, 4)
    return x.reshape(batch, rows * columns, side * side * dim)


def embedding(x: Tensor) -> Tensor:
    """(1, T, C) of (1, ..., C)."""
    return x.reshape(1, -1, x.shape[-1]).clone()


def mean(x: Tensor) -> Tensor:
    """The mean token (B, 1, C) of (B, T, C)."""
    batch, tokens, dim = x.shape
    return F.avg_pool2d(x.permute(0, 2, 1).reshape(batch, dim, tokens, 1), (tokens, 1)).reshape(batch, 1, dim)


def logits(token_scores: Tensor, aux_scores: Tensor | None) -> Tensor:
    """Class token scores (B, 1, K) plus the largest of the token scores (B, T, K): (B, K)."""
    batch, _, classes = token_scores.shape
    result = token_scores.reshape(batch, classes)
    if aux_scores is not None:
        window = (aux_scores.shape[1], 1)
        column = aux_scores.permute(0, 2, 1).reshape(batch, classes, *window)
        result = result + F.max_pool2d(column, window).reshape(batch, classes)
    return result


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """softmax(q k) v, head by head: query (B, Q, C), key and value (B, T, C) to (B, Q, C); the query is scaled."""
    batch, queries, dim = query.shape
    tokens, width = key.shape[1], dim // heads
    q = query.reshape(batch, queries, heads, width).permute(0, 2, 1, 3).reshape(batch * heads, queries, width)
    k = key.reshape(batch, tokens, heads, width).permute(0, 2, 3, 1).reshape(batch * heads, width, tokens)
    v = value.reshape(batch, tokens, heads, width).permute(0, 2, 1, 3).reshape(batch * heads, tokens, width)
    mixed = torch.bmm(torch.bmm(q, k).softmax(-1), v)
    return mixed.reshape(batch, heads, queries, width).permute(0, 2, 1, 3).reshape(batch, queries, dim)


def _sum(parts: list[Tensor]) -> Tensor:
    total, *rest = parts
    for part in rest:
        total = total + part
    return total


TOKENS_LAST = Layout(
    name="tokens-last",
    image=lambda x: x.permute(0, 2, 3, 1),
    patches=patches,
    patch_axes=(0, 2, 3, 1),
    projection=lambda linear: linear,
    norm=Norm,
    outlook=OutlookAttention,
    attend=attend,
    token_axis=1,
    tokens=lambda x: x,
    embedding=embedding,
    mean=mean,
    logits=logits,
)
