"""The edge model for Core ML: channels first, (B, C, H, W) or (B, C, 1, T), rank 4 and 1x1 convolutions throughout.

The Neural Engine keeps tensors channels-first and pads their last axis to 64 bytes (Apple, "Deploying Transformers on
the Apple Neural Engine", 2022): tokens stay in the last axis, heads are split off the channels, and no operator
transposes. A softmax is over the channels, as Apple's rules ask: heads become a batch by a reshape of leading axes,
which moves nothing. Windows are gathered and scattered by convolutions with one-hot kernels
(`windows.unfold_convolution`): Core ML has no fold, and its unfold is a dense convolution.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from volo_edge import model as reference
from volo_edge.decompose.edge import Layout
from volo_edge.decompose.windows import Window, fold_convolution, one_hot_kernels, own_tokens, unfold_convolution


def projection(linear: nn.Linear) -> nn.Conv2d:
    """A linear over the channels as a 1x1 convolution; the parameters are views."""
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1, bias=linear.bias is not None, device="meta")
    conv.weight = nn.Parameter(linear.weight.data[:, :, None, None], requires_grad=False)
    if linear.bias is not None:
        conv.bias = nn.Parameter(linear.bias.data, requires_grad=False)
    return conv


class Norm(nn.Module):
    """Layer norm over the channels without affine part, written so that coremltools makes one `layer_norm` of it.

    Core ML has the operator, so a centred input is no special case: its root mean square, written out, would overflow
    half precision.
    """

    def __init__(self, width: int, eps: float, centred: bool) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x = x - x.mean(1, keepdim=True)
        return x * torch.rsqrt((x * x).mean(1, keepdim=True) + self.eps)


class OutlookAttention(nn.Module):
    """Outlook attention over (B, C, H, W): windows by one-hot convolutions, one product and sum for each output tap."""

    one_hot: Tensor
    pool_factor: Tensor | None

    def __init__(self, attn: reference.OutlookAttention, window: Window) -> None:
        super().__init__()
        self.window = window
        self.heads = attn.num_heads
        self.v, self.attn, self.proj = projection(attn.v), projection(attn.attn), projection(attn.proj)
        self.register_buffer("one_hot", one_hot_kernels(attn.v.in_features, window))
        share = own_tokens(window).reshape(1, 1, window.rows, window.columns) / window.stride**2
        self.register_buffer("pool_factor", 1 / share if share.min() < 1 else None)

    def forward(self, x: Tensor) -> Tensor:
        batch, dim, _, _ = x.shape
        w, heads = self.window, self.heads
        windows = w.rows * w.columns

        values = unfold_convolution(self.v(x), self.one_hot, w)
        values = values.reshape(batch * heads, dim // heads, w.taps, windows)
        scores = self.attn(self._pooled(x)).reshape(batch * heads * w.taps, w.taps, 1, windows)
        weights = scores.softmax(1).reshape(batch * heads, w.taps, w.taps, windows)

        taps = [(weights[:, tap : tap + 1] * values).sum(2, keepdim=True) for tap in range(w.taps)]
        mixed = torch.cat(taps, 2).reshape(batch, dim * w.taps, w.rows, w.columns)
        return self.proj(fold_convolution(mixed, self.one_hot, w))

    def _pooled(self, x: Tensor) -> Tensor:
        """Mean of each window's own `stride` x `stride` tokens: (B, C, rows, columns) of (B, C, H, W)."""
        stride = self.window.stride
        if stride == 1:
            return x
        if self.pool_factor is None:
            return F.avg_pool2d(x, stride, stride)
        # A short last window: zeros fill it up, and the factor takes them out of the mean again.
        x = F.pad(x, (0, -x.shape[3] % stride, 0, -x.shape[2] % stride))
        return F.avg_pool2d(x, stride, stride) * self.pool_factor


def patches(x: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """(B, C * side * side, rows, columns) of x (B, C, height, width)."""
    height, width = (length // side * side for length in grid)
    if (height, width) != grid:
        x = x[:, :, :height, :width]
    return F.pixel_unshuffle(x, side)


def embedding(x: Tensor) -> Tensor:
    """(1, C, 1, T) of (1, ..., C)."""
    return x.reshape(1, -1, x.shape[-1]).transpose(1, 2).unsqueeze(2).contiguous()


def logits(token_scores: Tensor, aux_scores: Tensor | None) -> Tensor:
    """Class token scores (B, K, 1, 1) plus the largest of the token scores (B, K, 1, T): (B, K)."""
    if aux_scores is not None:
        token_scores = token_scores + aux_scores.amax(3, keepdim=True)
    return token_scores.flatten(1)


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """softmax(q k) v, head by head: query (B, C, 1, Q), key and value (B, C, 1, T) to (B, C, 1, Q).

    Keys are rows of the scores and queries columns, so that neither product needs its result transposed.
    """
    batch, dim, _, queries = query.shape
    q, k, v = (x.reshape(batch, heads, dim // heads, x.shape[3]) for x in (query, key, value))
    scores = (k.transpose(2, 3) @ q).reshape(batch * heads, -1, 1, queries)
    weights = scores.softmax(1).reshape(batch, heads, -1, queries)
    return (v @ weights).reshape(batch, dim, 1, queries)


CHANNELS_FIRST = Layout(
    name="channels-first",
    image=lambda x: x,
    patches=patches,
    patch_axes=(0, 1, 2, 3),
    projection=projection,
    norm=Norm,
    outlook=OutlookAttention,
    attend=attend,
    token_axis=3,
    tokens=lambda x: x.flatten(2).unsqueeze(2),
    embedding=embedding,
    mean=lambda x: x.mean(3, keepdim=True),
    logits=logits,
)
