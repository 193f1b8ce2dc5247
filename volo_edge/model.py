"""VOLO in plain torch, inference only: the float reference that every artifact is held against.

Follows VOLO (Yuan et al. 2021, arXiv:2106.13112). Parameter names are those of the official checkpoints and of timm,
so a state dict of either loads as it is. Tokens are channels-last, (B, H, W, C), as in the paper.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from volo_edge.variants import Architecture


class OutlookAttention(nn.Module):
    """Attention of each window of `kernel` x `kernel` tokens, its weights predicted from the window's mean token.

    Section 3.1 of the paper: (B, H, W, C) to (B, H, W, C). A window starts every `stride` tokens; each one's attention
    mixes its values, and where windows overlap their results add up.
    """

    def __init__(self, dim: int, num_heads: int, kernel: int, padding: int, stride: int, qkv_bias: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.kernel = kernel
        self.padding = padding
        self.stride = stride
        self.scale = (dim // num_heads) ** -0.5
        self.v = nn.Linear(dim, dim, bias=qkv_bias)
        self.attn = nn.Linear(dim, kernel**4 * num_heads)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, dim = x.shape
        taps, heads = self.kernel**2, self.num_heads
        window = {"kernel_size": self.kernel, "padding": self.padding, "stride": self.stride}
        positions = math.ceil(height / self.stride) * math.ceil(width / self.stride)

        values = F.unfold(self.v(x).permute(0, 3, 1, 2), **window)  # B, C * taps, positions
        values = values.reshape(batch, heads, dim // heads, taps, positions).permute(0, 1, 4, 3, 2)

        # ceil_mode: a side of odd length ends in a window of fewer tokens, whose mean is over those it has
        pooled = F.avg_pool2d(x.permute(0, 3, 1, 2), self.stride, self.stride, ceil_mode=True).permute(0, 2, 3, 1)
        scores = self.attn(pooled).reshape(batch, positions, heads, taps, taps).permute(0, 2, 1, 3, 4)
        weights = (scores * self.scale).softmax(-1)

        mixed = (weights @ values).permute(0, 1, 4, 3, 2).reshape(batch, dim * taps, positions)
        folded = F.fold(mixed, (height, width), **window)
        return self.proj(folded.permute(0, 2, 3, 1))


class Attention(nn.Module):
    """Multi-head self-attention over all tokens: (B, H, W, C) to (B, H, W, C)."""

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = (dim // num_heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, dim = x.shape
        qkv = self.qkv(x).reshape(batch, height * width, 3, self.num_heads, dim // self.num_heads)
        query, key, value = qkv.transpose(1, 3).unbind(2)  # the batch stays first, for runtimes that leave it out
        weights = (query @ key.transpose(-2, -1) * self.scale).softmax(-1)
        return self.proj((weights @ value).transpose(1, 2).reshape(batch, height, width, dim))


class ClassAttention(nn.Module):
    """Attention with the class token as the one query: (B, 1 + T, C) to (B, 1, C). CaiT, arXiv:2103.17239."""

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = (dim // num_heads) ** -0.5
        self.kv = nn.Linear(dim, 2 * dim, bias=qkv_bias)
        self.q = nn.Linear(dim, dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        kv = self.kv(x).reshape(batch, tokens, 2, self.num_heads, dim // self.num_heads)
        key, value = kv.transpose(1, 3).unbind(2)
        query = self.q(x[:, :1]).reshape(batch, self.num_heads, 1, dim // self.num_heads)
        weights = (query @ key.transpose(-2, -1) * self.scale).softmax(-1)
        return self.proj((weights @ value).transpose(1, 2).reshape(batch, 1, dim))


class Mlp(nn.Module):
    """Two linears with an exact GELU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm residual block: an outlooker or a transformer, as its `attn` says."""

    def __init__(self, dim: int, attn: nn.Module, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = attn
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, round(dim * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ClassBlock(Block):
    """The same residual block over (B, 1 + T, C), changing only the class token, which is the first."""

    def forward(self, x: Tensor) -> Tensor:
        token = x[:, :1] + self.attn(self.norm1(x))
        token = token + self.mlp(self.norm2(token))
        return torch.cat((token, x[:, 1:]), dim=1)


class PatchEmbed(nn.Module):
    """Normalized image (B, C, H, W) to tokens (B, C, H / patch, W / patch)."""

    def __init__(self, in_chans: int, dim: int, stem_hidden_dim: int, patch_size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, patch = in_chans, patch_size
        if stem_hidden_dim:
            patch //= 2  # the stem's first convolution has taken the other half
            for kernel, stride in ((7, 2), (3, 1), (3, 1)):
                layers += [
                    nn.Conv2d(channels, stem_hidden_dim, kernel, stride, kernel // 2, bias=False),
                    nn.BatchNorm2d(stem_hidden_dim),
                    nn.ReLU(inplace=True),
                ]
                channels = stem_hidden_dim
        self.conv = nn.Sequential(*layers)
        self.proj = nn.Conv2d(channels, dim, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.conv(x))


class Downsample(nn.Module):
    """2x2 convolution with stride 2 between the stages: (B, H, W, C) to (B, H // 2, W // 2, C')."""

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(dim, out_dim, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class VOLO(nn.Module):
    """Normalized images (B, C, H, W) to logits (B, num_classes).

    H and W are `architecture.image_size`; the position embedding (1, H / 2 patch, W / 2 patch, C) holds for no other.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        dims, last = a.embed_dims, a.embed_dims[-1]
        self.patch_embed = PatchEmbed(a.in_chans, dims[0], a.stem_hidden_dim, a.patch_size)

        def outlooker() -> Block:
            window = (a.outlook_kernel, a.outlook_padding, a.outlook_stride)
            return Block(dims[0], OutlookAttention(dims[0], a.num_heads[0], *window, a.qkv_bias), a.mlp_ratios[0])

        def transformer(stage: int) -> Block:
            return Block(dims[stage], Attention(dims[stage], a.num_heads[stage], a.qkv_bias), a.mlp_ratios[stage])

        self.network = nn.ModuleList([nn.Sequential(*(outlooker() for _ in range(a.layers[0])))])
        self.network.append(Downsample(dims[0], dims[1]))
        for stage in range(1, len(a.layers)):
            self.network.append(nn.Sequential(*(transformer(stage) for _ in range(a.layers[stage]))))

        self.pos_embed = nn.Parameter(torch.zeros(1, *a.coarse_grid, last))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, last))
        self.post_network = nn.ModuleList(
            ClassBlock(last, ClassAttention(last, a.num_heads[-1], a.qkv_bias), a.mlp_ratios[-1])
            for _ in range(a.post_layers)
        )
        self.norm = nn.LayerNorm(last)
        self.head = nn.Linear(last, a.num_classes)
        self.aux_head = nn.Linear(last, a.num_classes) if a.aux_head else None
        self.aux_scale = 0.5
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        outlookers, downsample, *transformers = self.network
        x = outlookers(self.patch_embed(images).permute(0, 2, 3, 1))
        x = downsample(x) + self.pos_embed
        for stage in transformers:
            x = stage(x)
        x = x.flatten(1, 2)
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), dim=1)
        for block in self.post_network:
            x = block(x)
        x = self.norm(x)
        logits = self.head(x[:, 0] if self.architecture.pool == "token" else x.mean(1))
        if self.aux_head is not None:
            logits = logits + self.aux_scale * self.aux_head(x[:, 1:]).amax(1)
        return logits
