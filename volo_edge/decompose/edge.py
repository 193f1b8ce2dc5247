"""The edge model: what both layouts of it share, which is the whole shape of VOLO.

A layout says how tokens lie in memory and names the operators that suit it; `tokens_last` is XNNPACK's,
`channels_first` is Core ML's. Submodules keep the checkpoints' names (`network.0.1.attn.v`), so that a layer is called
the same from the checkpoint to the report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from volo_edge import model as reference
from volo_edge.decompose.rewrites import as_linear, split_linear
from volo_edge.decompose.windows import Window


@dataclass(frozen=True)
class Layout:
    """One arrangement of tokens and the modules made for it, each built from the reference's own.

    Args:
        name: what the layout is called.
        image: image features (B, C, H, W), arranged.
        patches: an arranged image, or outlooker tokens, on a grid (height, width), and a patch's side in pixels, to one
            position a patch whose channels are all of its pixels'; what is left over at the ends is dropped.
        patch_axes: the axes of a convolution's weight (C', C, rows, columns) in the order of `patches`' channels.
        projection: a linear over the channels.
        norm: layer norm without affine part, of (width, eps, whether its input has zero mean over the channels).
        outlook: outlook attention over a grid.
        attend: softmax(q k) v of projected queries, keys and values, with a number of heads; the query is scaled.
        token_axis: along which tokens are joined.
        tokens: what a projection of patches gives as transformer tokens.
        embedding: an embedding (1, ..., C) arranged as tokens.
        mean: of tokens, one token.
        logits: class token scores, and token scores or None, to logits (B, num_classes).
    """

    name: str
    image: Callable[[Tensor], Tensor]
    patches: Callable[[Tensor, tuple[int, int], int], Tensor]
    patch_axes: tuple[int, int, int, int]
    projection: Callable[[nn.Linear], nn.Module]
    norm: Callable[[int, float, bool], nn.Module]
    outlook: Callable[[reference.OutlookAttention, Window], nn.Module]
    attend: Callable[[Tensor, Tensor, Tensor, int], Tensor]
    token_axis: int
    tokens: Callable[[Tensor], Tensor]
    embedding: Callable[[Tensor], Tensor]
    mean: Callable[[Tensor], Tensor]
    logits: Callable[[Tensor, Tensor | None], Tensor]


class PatchProjection(nn.Module):
    """A convolution whose patches do not overlap, as a projection of each patch.

    So it is quantized as every other projection is, and no kernel's stride is more than 2.
    """

    def __init__(self, conv: nn.Conv2d, layout: Layout, grid: tuple[int, int]) -> None:
        super().__init__()
        self.layout, self.grid, self.side = layout, grid, conv.stride[0]
        self.proj = layout.projection(as_linear(conv.weight.data.permute(layout.patch_axes).flatten(1), conv.bias))

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.layout.patches(x, self.grid, self.side))


class PatchEmbed(PatchProjection):
    """Images (B, C, H, W) to the tokens of the outlooker stage: the stem's convolutions, then one token a patch."""

    def __init__(self, embed: reference.PatchEmbed, layout: Layout, grid: tuple[int, int]) -> None:
        side = embed.proj.stride[0]
        super().__init__(embed.proj, layout, (grid[0] * side, grid[1] * side))
        self.conv = embed.conv

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(self.layout.image(self.conv(images)))


class Attention(nn.Module):
    """Multi-head self-attention over tokens, query, key and value projected apart."""

    def __init__(self, attn: reference.Attention, layout: Layout) -> None:
        super().__init__()
        self.heads, self.layout = attn.num_heads, layout
        self.q, self.k, self.v = (layout.projection(part) for part in split_linear(attn.qkv, 3))
        self.proj = layout.projection(attn.proj)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.layout.attend(self.q(x), self.k(x), self.v(x), self.heads))


class ClassAttention(nn.Module):
    """Attention of the class token to itself and the tokens."""

    def __init__(self, attn: reference.ClassAttention, layout: Layout) -> None:
        super().__init__()
        self.heads, self.layout = attn.num_heads, layout
        self.q = layout.projection(attn.q)
        self.k, self.v = (layout.projection(part) for part in split_linear(attn.kv, 2))
        self.proj = layout.projection(attn.proj)

    def forward(self, token: Tensor, tokens: Tensor) -> Tensor:
        every = torch.cat((token, tokens), self.layout.token_axis)
        return self.proj(self.layout.attend(self.q(token), self.k(every), self.v(every), self.heads))


class Mlp(nn.Module):
    """Two projections with an exact GELU between them."""

    def __init__(self, mlp: reference.Mlp, layout: Layout) -> None:
        super().__init__()
        self.fc1 = layout.projection(mlp.fc1)
        self.fc2 = layout.projection(mlp.fc2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm residual block over tokens."""

    def __init__(self, block: reference.Block, attn: nn.Module, layout: Layout, centred: bool) -> None:
        super().__init__()
        width = block.mlp.fc1.in_features
        self.norm1 = layout.norm(width, block.norm1.eps, centred)
        self.attn = attn
        self.norm2 = layout.norm(width, block.norm2.eps, centred)
        self.mlp = Mlp(block.mlp, layout)

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        """`others` are what the attention reads besides: of the class token's block, all tokens, normalized."""
        x = x + self.attn(self.norm1(x), *others)
        return x + self.mlp(self.norm2(x))


class EdgeVOLO(nn.Module):
    """Images (B, C, H, W), RGB or grey in 0..255, to logits (B, num_classes), in operators that phones have.

    Args:
        folded: a reference after every rewrite of `rewrites`; its parameters are used, not copied.
        layout: the arrangement of tokens to build.
    """

    pos_embed: Tensor
    cls_token: Tensor

    def __init__(self, folded: reference.VOLO, layout: Layout) -> None:
        super().__init__()
        a = folded.architecture
        self.architecture, self.layout = a, layout
        last = a.embed_dims[-1]
        window = Window(*a.grid, a.outlook_kernel, a.outlook_padding, a.outlook_stride)
        outlookers, downsample, *stages = folded.network

        self.patch_embed = PatchEmbed(folded.patch_embed, layout, a.grid)
        self.network = nn.ModuleList(
            [
                nn.Sequential(
                    *(Block(block, layout.outlook(block.attn, window), layout, centred=False) for block in outlookers)
                ),
                PatchProjection(downsample.proj, layout, a.grid),
            ]
        )
        for stage in stages:
            self.network.append(
                nn.Sequential(*(Block(block, Attention(block.attn, layout), layout, centred=True) for block in stage))
            )
        self.post_network = nn.ModuleList(
            Block(block, ClassAttention(block.attn, layout), layout, centred=True) for block in folded.post_network
        )
        self.norm = layout.norm(last, folded.norm.eps, True)
        self.head = layout.projection(folded.head)
        self.aux_head = layout.projection(folded.aux_head) if folded.aux_head is not None else None
        self.register_buffer("pos_embed", layout.embedding(folded.pos_embed.data))
        self.register_buffer("cls_token", layout.embedding(folded.cls_token.data))
        self.to(folded.head.weight.dtype)  # the layouts' own constants are made in double precision
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        outlookers, downsample, *stages = self.network
        x = outlookers(self.patch_embed(images))
        x = self.layout.tokens(downsample(x)) + self.pos_embed
        for stage in stages:
            x = stage(x)
        # The class blocks and the auxiliary head each normalize the same tokens: with the affine parts folded into
        # their readers, once is enough.
        x = self.norm(x)
        token = self.cls_token
        if len(images) > 1:  # a phone's batch is one, and XNNPACK cannot expand
            token = token.expand(len(images), *token.shape[1:])
        for block in self.post_network:
            token = block(token, x)
        read = self.norm(token)
        if self.architecture.pool == "avg":
            read = self.layout.mean(torch.cat((read, x), self.layout.token_axis))
        return self.layout.logits(self.head(read), self.aux_head(x) if self.aux_head is not None else None)

    def example(self) -> Tensor:
        """An image (1, C, H, W) that it takes, black."""
        return self.cls_token.new_zeros(1, self.architecture.in_chans, *self.architecture.image_size)


def multiply_adds(edge: EdgeVOLO) -> int:
    """Multiplications of one image that end in a sum: linears, convolutions, matrix products. Runs the model once."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        edge(edge.example())
    return int(counter.get_total_flops()) // 2
