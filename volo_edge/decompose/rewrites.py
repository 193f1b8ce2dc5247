"""Exact algebra on a VOLO's weights: each rewrite changes the parameters, never the function.

A rewrite takes a reference `VOLO` and changes it in place; what is left is still a VOLO that computes the same logits,
with one thing less to compute. Sums are taken in double precision and rounded once to the parameters' own type
(those of batch norms, which PyTorch folds, in their own).
`docs/decomposition.md` derives each one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from volo_edge.model import VOLO, Attention, Block, ClassAttention, OutlookAttention


class SubtractMean(nn.Module):
    """Subtracts one value a channel from images (B, C, H, W)."""

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.reshape(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return images - self.mean


def blocks(model: VOLO) -> Iterator[Block]:
    """Every residual block of the model, in order: outlookers, transformers, class blocks."""
    for stage in model.network:
        if isinstance(stage, nn.Sequential):
            yield from stage
    yield from model.post_network


def norm_readers(attn: nn.Module) -> list[nn.Linear]:
    """What reads the norm in front of an attention."""
    names = {OutlookAttention: ("v", "attn"), Attention: ("qkv",), ClassAttention: ("q", "kv")}[type(attn)]
    return [getattr(attn, name) for name in names]


def fold_batch_norm(model: VOLO) -> None:
    """Each stem convolution takes its batch norm in: W' = W g / sqrt(var + eps), b' = beta - mean g / sqrt(...)."""
    conv = model.patch_embed.conv
    folded: OrderedDict[str, nn.Module] = OrderedDict()
    for name, layer in conv.named_children():
        if isinstance(layer, nn.BatchNorm2d):
            last, convolution = folded.popitem()
            assert isinstance(convolution, nn.Conv2d)
            folded[last] = fuse_conv_bn_eval(convolution, layer)
        else:
            folded[name] = layer
    model.patch_embed.conv = nn.Sequential(folded)


def fold_normalization(model: VOLO, mean: Sequence[float], std: Sequence[float]) -> None:
    """The model takes pixels of 0..255: the first convolution takes in the division by 255 std.

    The mean stays a subtraction in front of it: the convolution pads with zeros, which stand for the mean colour, and
    a bias would add the mean to that border too.
    """
    embed = model.patch_embed
    first = next((layer for layer in embed.conv if isinstance(layer, nn.Conv2d)), embed.proj)
    deviation = 255 * torch.tensor(std, dtype=torch.float64)
    assign(first, first.weight.double() / deviation.reshape(1, -1, 1, 1))
    pixel_mean = SubtractMean((255 * torch.tensor(mean, dtype=torch.float64)).to(first.weight.dtype))
    embed.conv = nn.Sequential(OrderedDict([("pixel_mean", pixel_mean), *embed.conv.named_children()]))


def fold_layer_norm_affine(model: VOLO) -> None:
    """Every layer norm's gain and shift go into the linears that read it: W' = W diag(g), b' = b + W beta.

    Outlook attention reads its norm twice, once pooled; a mean over tokens commutes with an affine map of channels.
    """
    for block in blocks(model):
        block.norm1 = _absorb_affine(block.norm1, norm_readers(block.attn))
        block.norm2 = _absorb_affine(block.norm2, [block.mlp.fc1])
    model.norm = _absorb_affine(model.norm, [model.head, *([model.aux_head] if model.aux_head else [])])


def fold_attention_scale(model: VOLO) -> None:
    """The factor 1 / sqrt(head width) goes into the projection that makes the query, or the outlook scores."""
    for block in blocks(model):
        attn = block.attn
        name = {OutlookAttention: "attn", Attention: "qkv", ClassAttention: "q"}[type(attn)]
        linear: nn.Linear = getattr(attn, name)
        rows = linear.in_features if isinstance(attn, Attention) else linear.out_features  # of qkv, the query's only
        factor = torch.ones(linear.out_features, 1, dtype=torch.float64)
        factor[:rows] = attn.scale
        assign(linear, linear.weight.double() * factor, bias_of(linear) * factor[:, 0])
        attn.scale = 1.0


def fold_aux_scale(model: VOLO) -> None:
    """The auxiliary head's weight of 0.5 goes into its parameters: a positive factor passes through a maximum."""
    if model.aux_head is not None:
        assign(
            model.aux_head, model.aux_head.weight.double() * model.aux_scale, bias_of(model.aux_head) * model.aux_scale
        )
    model.aux_scale = 1.0


def centre_residual(model: VOLO) -> None:
    """Whatever is added to a token from the downsampling on has zero mean over the channels.

    From there only layer norms read a token, and a layer norm does not see its mean: with a mean of zero it is a
    division by the root mean square. Not in the outlooker stage, whose tokens the downsampling convolution reads whole.
    """
    downsample = model.network[1].proj
    assign(downsample, *_centred(downsample.weight.double(), downsample.bias.double()))
    for block in blocks(model):
        if not isinstance(block.attn, OutlookAttention):
            for linear in (block.attn.proj, block.mlp.fc2):
                assign(linear, *_centred(linear.weight.double(), linear.bias.double()))
    for parameter in (model.pos_embed, model.cls_token):
        parameter.data = parameter.data - parameter.data.double().mean(-1, keepdim=True).to(parameter.dtype)


def split_linear(linear: nn.Linear, parts: int) -> list[nn.Linear]:
    """A linear as `parts` linears, one for each equal share of its outputs; the parts are views of its parameters."""
    biases = [None] * parts if linear.bias is None else linear.bias.data.chunk(parts)
    return [as_linear(weight, bias) for weight, bias in zip(linear.weight.data.chunk(parts), biases, strict=True)]


def as_linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear of these parameters, not copied."""
    result = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta", dtype=weight.dtype)
    result.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        result.bias = nn.Parameter(bias, requires_grad=False)
    return result


def _absorb_affine(norm: nn.LayerNorm, readers: Sequence[nn.Linear]) -> nn.LayerNorm:
    gain, shift = norm.weight.double(), norm.bias.double()
    for linear in readers:
        weight = linear.weight.double()
        assign(linear, weight * gain, bias_of(linear) + weight @ shift)
    return nn.LayerNorm(norm.normalized_shape, norm.eps, elementwise_affine=False)


def _centred(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    return weight - weight.mean(0, keepdim=True), bias - bias.mean()


def bias_of(layer: nn.Linear | nn.Conv2d) -> Tensor:
    """A layer's bias, float64 (outputs,): zeros where it has none."""
    return layer.weight.new_zeros(len(layer.weight), dtype=torch.float64) if layer.bias is None else layer.bias.double()


def assign(layer: nn.Linear | nn.Conv2d, weight: Tensor, bias: Tensor | None = None) -> None:
    """Set a layer's parameters, rounded to its type; a bias that is zero throughout is not made."""
    dtype = layer.weight.dtype
    layer.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    if bias is not None and (layer.bias is not None or bias.any()):
        layer.bias = nn.Parameter(bias.to(dtype), requires_grad=False)
