"""Every exact rewrite leaves the reference's function as it was, and both edge models compute it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.exactness import PRECISIONS, SMALL, logits_of, noise, reference, relative_error
from tests.small import preprocessing_of
from volo_edge.decompose import CHANNELS_FIRST, TOKENS_LAST, EdgeVOLO, Layout, decompose, fold, rewrites
from volo_edge.decompose.edge import PatchProjection, multiply_adds
from volo_edge.model import VOLO, Attention, OutlookAttention
from volo_edge.preprocess import normalize
from volo_edge.variants import VARIANTS, Architecture

LAYOUTS = [pytest.param(layout, id=layout.name) for layout in (TOKENS_LAST, CHANNELS_FIRST)]
ODD = dataclasses.replace(SMALL, image_size=(72, 88))  # 9 x 11 tokens: a short last row and column of windows

pytestmark = pytest.mark.usefixtures("one_thread")


def modules(model: nn.Module, kind: type) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, kind)]


# --- each rewrite alone


REWRITES: dict[str, Callable[[VOLO], None]] = {
    "batch norm": rewrites.fold_batch_norm,
    "layer norm affine": rewrites.fold_layer_norm_affine,
    "attention scale": rewrites.fold_attention_scale,
    "aux scale": rewrites.fold_aux_scale,
    "centred residual": rewrites.centre_residual,
}


@pytest.mark.parametrize("change", [{}, {"qkv_bias": True}, {"aux_head": False}, {"stem_hidden_dim": 0}])
@pytest.mark.parametrize("rewrite", REWRITES.values(), ids=REWRITES)
def test_a_rewrite_alone_keeps_the_function(rewrite: Callable[[VOLO], None], change: dict[str, Any]) -> None:
    model = reference(dataclasses.replace(ODD, **change))
    images = normalize(noise(ODD), preprocessing_of(ODD))
    expected = logits_of(model, images)
    rewrite(model)
    assert relative_error(logits_of(model, images), expected) < 1e-12


@pytest.mark.parametrize("order", [list(REWRITES), list(reversed(REWRITES))], ids=["forward", "backward"])
def test_rewrites_keep_the_function_in_any_order(order: list[str]) -> None:
    model = reference(ODD)
    images = normalize(noise(ODD), preprocessing_of(ODD))
    expected = logits_of(model, images)
    for name in order:
        REWRITES[name](model)
    assert relative_error(logits_of(model, images), expected) < 1e-12


def test_rewrites_round_once() -> None:
    in_single, in_double = reference(SMALL, torch.float32), reference(SMALL)
    for model in (in_single, in_double):
        fold(model, preprocessing_of(SMALL))
    found, exact = in_single.state_dict(), in_double.state_dict()
    assert found.keys() == exact.keys()
    for name, tensor in found.items():
        assert tensor.dtype == torch.float32
        # a few roundings, each of half a unit in the last place of the tensor's largest value
        assert float((tensor - exact[name]).abs().max() / exact[name].abs().max()) < 4 * 2**-24, name


def test_no_batch_norm_is_left() -> None:
    model = reference(SMALL)
    rewrites.fold_batch_norm(model)
    assert not modules(model, nn.BatchNorm2d)
    assert [type(layer) for layer in model.patch_embed.conv] == [nn.Conv2d, nn.ReLU] * 3
    assert all(conv.bias is not None for conv in modules(model.patch_embed, nn.Conv2d))


def flat_image(*colour: float) -> Tensor:
    return torch.tensor(colour, dtype=torch.float64).reshape(1, 3, 1, 1).expand(1, 3, *ODD.image_size)


def framed_image() -> Tensor:
    """The mean colour with noise along the border, where the first convolution reads its padding."""
    pixels = (255 * torch.tensor(preprocessing_of(ODD).mean, dtype=torch.float64)).reshape(1, 3, 1, 1)
    pixels = pixels.repeat(1, 1, *ODD.image_size)
    inside = torch.zeros(ODD.image_size, dtype=torch.bool)
    inside[4:-4, 4:-4] = True
    return torch.where(inside, pixels, noise(ODD, 1))


IMAGES = {
    "noise": noise(ODD),
    "black": flat_image(0, 0, 0),
    "white": flat_image(255, 255, 255),
    "one colour": flat_image(250, 10, 90),
    "noise at the border": framed_image(),
}


@pytest.mark.parametrize("stem", [8, 0])
@pytest.mark.parametrize("after_batch_norm", [False, True])
@pytest.mark.parametrize("pixels", IMAGES.values(), ids=IMAGES)
def test_pixels_take_the_place_of_normalized_images(pixels: Tensor, after_batch_norm: bool, stem: int) -> None:
    model = reference(dataclasses.replace(ODD, stem_hidden_dim=stem))
    # three different numbers each, so that a channel read for another is seen
    preprocessing = dataclasses.replace(preprocessing_of(ODD), mean=(0.2, 0.5, 0.7), std=(0.1, 0.2, 0.4))
    expected = logits_of(model, normalize(pixels, preprocessing))
    if after_batch_norm:
        rewrites.fold_batch_norm(model)
    rewrites.fold_normalization(model, preprocessing.mean, preprocessing.std)
    assert relative_error(logits_of(model, pixels), expected) < 1e-12


@pytest.mark.parametrize("qkv_bias", [False, True])
def test_no_layer_norm_has_an_affine_part(qkv_bias: bool) -> None:
    model = reference(dataclasses.replace(SMALL, qkv_bias=qkv_bias))
    eps = [norm.eps for norm in modules(model, nn.LayerNorm)]
    rewrites.fold_layer_norm_affine(model)
    norms = modules(model, nn.LayerNorm)
    assert [norm.eps for norm in norms] == eps
    assert len(norms) == 2 * 6 + 1  # two to each of four blocks and two class blocks, and the last one
    assert all(norm.weight is None and norm.bias is None for norm in norms)
    # the shifts that the norms no longer make
    assert all(attn.v.bias is not None and bool(attn.v.bias.any()) for attn in modules(model, OutlookAttention))


def test_a_bias_that_would_be_zero_is_not_made() -> None:
    model = reference(SMALL)
    rewrites.fold_attention_scale(model)
    assert all(attn.qkv.bias is None for attn in modules(model, Attention))


def test_no_attention_scales_its_scores() -> None:
    model = reference(SMALL)
    before = copy.deepcopy(model.network[2][0].attn.qkv.weight)
    rewrites.fold_attention_scale(model)
    assert [block.attn.scale for block in rewrites.blocks(model)] == [1.0] * 6
    after = model.network[2][0].attn.qkv.weight
    torch.testing.assert_close(after[:24], before[:24] * 6**-0.5, rtol=1e-15, atol=0)
    assert torch.equal(after[24:], before[24:])  # keys and values are left alone


def test_the_aux_head_counts_whole() -> None:
    model = reference(SMALL)
    weight, bias = (parameter.clone() for parameter in (model.aux_head.weight, model.aux_head.bias))
    rewrites.fold_aux_scale(model)
    assert model.aux_scale == 1.0
    assert torch.equal(model.aux_head.weight, weight / 2)
    assert torch.equal(model.aux_head.bias, bias / 2)


def residual_means(model: VOLO, images: Tensor) -> Iterator[tuple[str, float]]:
    """Each block, and the last norm, with the largest mean over the channels of a token that it is given."""
    means: dict[str, float] = {}

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def keep(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            means[name] = float(inputs[0].mean(-1).abs().max())

        return module.register_forward_pre_hook(keep)

    names = {module: name for name, module in model.named_modules()}
    hooks = [watch(names[block], block) for block in rewrites.blocks(model)]
    hooks += [watch(f"{names[block]}.norm2", block.norm2) for block in rewrites.blocks(model)]
    hooks += [watch("norm", model.norm), watch("downsample", model.network[1])]
    logits_of(model, images)
    for hook in hooks:
        hook.remove()
    yield from means.items()


def test_tokens_have_zero_mean_from_the_downsampling_on() -> None:
    model = reference(ODD)
    images = normalize(noise(ODD), preprocessing_of(ODD))
    before = dict(residual_means(model, images))
    assert min(before.values()) > 1e-3
    rewrites.centre_residual(model)
    after = dict(residual_means(model, images))
    outlookers = {name for name in before if name.startswith("network.0.") or name == "downsample"}
    assert len(outlookers) == 5
    for name, mean in after.items():
        if name in outlookers:
            assert mean == before[name]  # the downsampling convolution reads it
        else:
            assert mean < 1e-13, name


def test_the_outlooker_stage_is_not_centred() -> None:
    model = reference(SMALL)
    before = copy.deepcopy({**model.network[0].state_dict(), **model.patch_embed.state_dict()})
    rewrites.centre_residual(model)
    after = {**model.network[0].state_dict(), **model.patch_embed.state_dict()}
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_centring_the_outlooker_stage_would_change_the_function() -> None:
    model = reference(SMALL)
    images = normalize(noise(SMALL), preprocessing_of(SMALL))
    expected = logits_of(model, images)
    for block in model.network[0]:
        for linear in (block.attn.proj, block.mlp.fc2):
            linear.weight.data -= linear.weight.data.mean(0, keepdim=True)
            linear.bias.data -= linear.bias.data.mean()
    assert relative_error(logits_of(model, images), expected) > 1e-3


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("parts", [2, 3])
def test_the_parts_of_a_split_linear_are_views(parts: int, bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(5, 12, bias=bias).double()
    split = rewrites.split_linear(linear, parts)
    x = torch.randn(7, 5, dtype=torch.float64)
    assert len(split) == parts
    torch.testing.assert_close(torch.cat([part(x) for part in split], -1), linear(x), rtol=0, atol=1e-14)
    for part in split:
        assert part.weight.untyped_storage().data_ptr() == linear.weight.untyped_storage().data_ptr()
        assert (part.bias is None) == (not bias)
        assert (part.in_features, part.out_features) == (5, 12 // parts)


# --- projections of patches


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@given(
    side=st.integers(1, 5),
    grid=st.tuples(st.integers(5, 14), st.integers(5, 14)),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    batch=st.integers(1, 3),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=60)
def test_a_projection_of_patches_is_the_convolution(
    layout: Layout, bias: bool, side: int, grid: tuple[int, int], channels: tuple[int, int], batch: int, seed: int
) -> None:
    torch.manual_seed(seed)
    conv = nn.Conv2d(*channels, side, side, bias=bias).double()
    image = torch.randn(batch, channels[0], *grid, dtype=torch.float64)
    with torch.inference_mode():
        expected = conv(image)  # what is left over of an odd grid is dropped here too
        found = PatchProjection(conv, layout, grid)(layout.image(image))
        if layout is TOKENS_LAST:  # which takes outlooker tokens too, and gives tokens
            tokens = image.flatten(2).transpose(1, 2)
            assert torch.equal(PatchProjection(conv, layout, grid)(tokens), found)
            expected = expected.flatten(2).transpose(1, 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_patches_are_projected_by_a_linear_or_a_1x1_convolution(layout: Layout) -> None:
    edge = decompose(reference(ODD), preprocessing_of(ODD), layout)
    for projection, inputs in ((edge.patch_embed.proj, 8 * 4 * 4), (edge.network[1].proj, 12 * 2 * 2)):
        assert type(projection) is (nn.Linear if layout is TOKENS_LAST else nn.Conv2d)
        assert projection.weight.flatten(1).shape[1] == inputs == projection.weight.shape[1]


# --- the edge model whole


ARCHITECTURES: dict[str, Architecture] = {
    "demo": VARIANTS["volo_cifar10"].architecture,
    "odd": dataclasses.replace(SMALL, image_size=(72, 72)),
    "odd, four outlookers": dataclasses.replace(SMALL, image_size=(88, 88), layers=(4, 1, 1)),
    "oblong": dataclasses.replace(SMALL, image_size=(96, 160)),
    "oblong and odd": dataclasses.replace(SMALL, image_size=(88, 136)),
    "one side odd": dataclasses.replace(SMALL, image_size=(64, 72)),
    "smallest": dataclasses.replace(SMALL, image_size=(16, 16)),
    "qkv bias": dataclasses.replace(SMALL, qkv_bias=True),
    "no aux head": dataclasses.replace(SMALL, aux_head=False),
    "every place a window": dataclasses.replace(SMALL, outlook_stride=1),
    "large windows": dataclasses.replace(ODD, outlook_kernel=5, outlook_padding=2),
    "windows side by side": dataclasses.replace(ODD, outlook_stride=3),
    "windows of one token": dataclasses.replace(ODD, outlook_kernel=1, outlook_padding=0),
    "patch 4": dataclasses.replace(SMALL, patch_size=4, image_size=(36, 40)),
    "patch 16": dataclasses.replace(SMALL, patch_size=16, image_size=(80, 128)),
    "no stem": dataclasses.replace(SMALL, stem_hidden_dim=0),
    "one transformer stage, wider": dataclasses.replace(
        SMALL, layers=(1, 2), embed_dims=(12, 36), num_heads=(3, 4), mlp_ratios=(3.0, 2.0)
    ),
    "mean of the tokens": dataclasses.replace(ODD, pool="avg"),
    "mean of the tokens, no aux head": dataclasses.replace(SMALL, pool="avg", aux_head=False),
    "grey": dataclasses.replace(SMALL, in_chans=1),
    "three class blocks": dataclasses.replace(SMALL, post_layers=3),
    "mlp ratios": dataclasses.replace(SMALL, mlp_ratios=(2.5, 1.7, 3)),
}


def assert_computes_the_reference(
    architecture: Architecture, layout: Layout, dtype: torch.dtype, bound: float, batch: int = 2
) -> None:
    model = reference(architecture, dtype)
    preprocessing = preprocessing_of(architecture)
    edge = decompose(model, preprocessing, layout)
    pixels = noise(architecture, batch, dtype)
    assert relative_error(logits_of(edge, pixels), logits_of(model, normalize(pixels, preprocessing))) < bound


@pytest.mark.parametrize(("dtype", "bound"), PRECISIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_the_edge_model_computes_the_reference(
    architecture: Architecture, layout: Layout, dtype: torch.dtype, bound: float
) -> None:
    assert_computes_the_reference(architecture, layout, dtype, bound)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_of_a_batch_are_apart(layout: Layout, batch: int) -> None:
    assert_computes_the_reference(ODD, layout, torch.float64, 1e-10, batch)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "bound"), PRECISIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_d1_at_224_is_computed_too(layout: Layout, dtype: torch.dtype, bound: float) -> None:
    assert_computes_the_reference(VARIANTS["volo_d1_224"].architecture, layout, dtype, bound, batch=1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layers_keep_the_checkpoints_names(layout: Layout) -> None:
    model = reference(SMALL)
    edge = decompose(model, preprocessing_of(SMALL), layout)
    kinds = (nn.Linear, nn.Conv2d)
    found = {name for name, module in edge.named_modules() if isinstance(module, kinds)}
    kept = {name for name, module in model.named_modules() if isinstance(module, kinds)}
    kept = {name for name in kept if not name.endswith((".qkv", ".kv"))}
    assert kept <= found
    assert {"network.2.0.attn.q", "network.2.0.attn.k", "post_network.1.attn.v"} <= found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_reference_is_left_as_it_was(layout: Layout) -> None:
    model = reference(SMALL)
    state, described = copy.deepcopy(model.state_dict()), repr(model)
    images = normalize(noise(SMALL), preprocessing_of(SMALL))
    expected = logits_of(model, images)
    edge = decompose(model, preprocessing_of(SMALL), layout)
    for parameter in edge.parameters():
        parameter.data.zero_()
    assert repr(model) == described
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in state.items())
    assert torch.equal(logits_of(model, images), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_consumed_reference_gives_its_weights_away(layout: Layout) -> None:
    model = reference(SMALL)
    untouched = [
        getattr(block, child).get_submodule(linear).weight.data_ptr()  # no rewrite changes these
        for block in model.network[0]
        for child, linear in (("attn", "proj"), ("mlp", "fc2"))
    ]
    edge = decompose(model, preprocessing_of(SMALL), layout, consume=True)
    assert {parameter.data_ptr() for parameter in edge.parameters()} >= set(untouched)
    kept = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    copied = {name for name, parameter in edge.named_parameters() if parameter.untyped_storage().data_ptr() not in kept}
    means = {name for name in copied if name.endswith((".mean.weight", ".mean_square.weight", ".mean_square.bias"))}
    # a patch's pixels, then its channels: where tokens are last, not the order of a convolution's weight
    permuted = {"patch_embed.proj.weight", "network.1.proj.weight"} if layout is TOKENS_LAST else set()
    assert copied - means == permuted


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_edge_model_is_ready_for_inference(layout: Layout) -> None:
    edge = decompose(reference(SMALL, torch.float32), preprocessing_of(SMALL), layout)
    assert not edge.training
    assert not any(parameter.requires_grad for parameter in edge.parameters())
    assert {tensor.dtype for tensor in edge.state_dict().values()} == {torch.float32}
    assert edge.architecture == SMALL
    assert edge.layout is layout


# --- what the layouts are made of


def exported(architecture: Architecture, layout: Layout) -> torch.export.ExportedProgram:
    edge = decompose(reference(architecture, torch.float32), preprocessing_of(architecture), layout)
    return torch.export.export(edge, (torch.zeros(1, 3, *architecture.image_size),), strict=False)


def calls(program: torch.export.ExportedProgram) -> dict[str, list[torch.fx.Node]]:
    """The operators of a program, and the nodes that call each."""
    found: dict[str, list[torch.fx.Node]] = {}
    for node in program.graph.nodes:
        if node.op == "call_function":
            found.setdefault(str(node.target).removeprefix("aten.").split(".")[0].rstrip("_"), []).append(node)
    return found


def shape(node: torch.fx.Node) -> tuple[int, ...]:
    return tuple(node.meta["val"].shape)


EXPORTED = {
    "even": SMALL,
    "odd": ODD,
    "every place a window": dataclasses.replace(SMALL, outlook_stride=1, aux_head=False),
    "large windows": dataclasses.replace(SMALL, outlook_kernel=5, outlook_padding=2, stem_hidden_dim=0),
}
exports = pytest.mark.parametrize("architecture", EXPORTED.values(), ids=EXPORTED)


@exports
def test_tokens_last_is_made_of_what_xnnpack_has(architecture: Architecture) -> None:
    found = calls(exported(architecture, TOKENS_LAST))
    # No unfold or fold, no norm, no mean or sum, no expand, select, squeeze or index, no einsum or 4-D product.
    assert found.keys() <= {
        "conv2d", "relu", "linear", "bmm", "softmax", "gelu", "rsqrt", "max_pool2d",
        "add", "sub", "mul", "cat", "slice", "pad", "reshape", "permute",
    }  # fmt: skip
    assert all(len(node.args) < 5 or node.args[4] == 1 for node in found["slice"])  # the step
    assert all(min(node.args[1]) >= 0 for node in found.get("pad", []))
    assert all(node.args[1] in (-1, len(shape(node)) - 1) for node in found["softmax"])
    assert all("alpha" not in node.kwargs for node in found["add"] + found["sub"])


@exports
def test_channels_first_is_made_of_what_core_ml_has(architecture: Architecture) -> None:
    found = calls(exported(architecture, CHANNELS_FIRST))
    assert found.keys() <= {
        "conv2d", "conv_transpose2d", "relu", "matmul", "softmax", "gelu", "rsqrt", "mean", "sum", "amax", "avg_pool2d",
        "add", "sub", "mul", "cat", "slice", "pad", "reshape", "flatten", "unsqueeze", "transpose", "pixel_unshuffle",
    }  # fmt: skip
    # of images to tokens and of tokens to the coarser grid; what is left of convolutions has a stride of 2 at most
    assert len(found["pixel_unshuffle"]) == 2
    strides: list[Any] = [node.args[3] for node in found["conv2d"] if len(node.args) > 3]
    assert all(max(stride) <= 2 for stride in strides)
    assert max(len(shape(node)) for nodes in found.values() for node in nodes) <= 4  # Core ML takes 5
    one_hot = [node for node in found["conv2d"] if "one_hot" in str(node.args[1])]
    assert len(one_hot) == len(found["conv_transpose2d"]) == architecture.layers[0]


@exports
def test_channels_first_transposes_keys_alone(architecture: Architecture) -> None:
    found = calls(exported(architecture, CHANNELS_FIRST))
    assert "permute" not in found
    attentions = sum(architecture.layers[1:]) + 2
    assert len(found["transpose"]) == attentions
    for node in found["transpose"]:
        assert node.args[1:] == (2, 3)
        (product,) = node.users
        assert product in found["matmul"]
        assert product.args[0] is node  # keys are the rows of the scores


def test_one_image_needs_no_expanded_class_token() -> None:
    for layout in (TOKENS_LAST, CHANNELS_FIRST):
        assert "expand" not in calls(exported(SMALL, layout))


# --- the work


def tiny(layout: Layout) -> EdgeVOLO:
    """4 x 4 tokens of 8 channels, 4 windows, then 2 x 2 tokens of 16."""
    architecture = Architecture(
        layers=(1, 1),
        embed_dims=(8, 16),
        num_heads=(2, 4),
        mlp_ratios=(2.0,) * 2,
        stem_hidden_dim=0,
        image_size=(16, 16),
        num_classes=5,
        patch_size=4,
    )
    return decompose(reference(architecture, torch.float32), preprocessing_of(architecture), layout)


LINEARS_AND_ATTENTIONS = {
    "patch": 16 * (3 * 4 * 4) * 8,
    "outlook values and output": 2 * 16 * 8 * 8,
    "outlook scores": 4 * 8 * (2 * 9 * 9),
    "outlook mlp": 2 * 16 * 8 * 16,
    "downsampling": 4 * (2 * 2 * 8) * 16,
    "query, key, value, output": 4 * 4 * 16 * 16,
    "scores and mixture": 2 * 4 * (4 * 4 * 4),
    "mlp": 2 * 4 * 16 * 32,
    "class query and output": 2 * (2 * 16 * 16),
    "class key and value": 2 * (2 * 5 * 16 * 16),
    "class scores and mixture": 2 * (2 * 4 * (1 * 5 * 4)),
    "class mlp": 2 * (2 * 16 * 32),
    "head": 16 * 5,
    "aux head": 4 * 16 * 5,
}


def test_multiply_adds_are_those_of_a_hand_count() -> None:
    outlook_mixture = 4 * 2 * (9 * 9 * 4)
    means = 2 * (2 * 16 * 8) + 2 * (4 * 16) + 4 * 16 + 2 * (2 * 16) + 16  # an outlooker's norms have two each
    assert multiply_adds(tiny(TOKENS_LAST)) == sum(LINEARS_AND_ATTENTIONS.values()) + outlook_mixture + means
    one_hot = 2 * (4 * 9 * 8 * 9)  # channels first: windows by convolution, mixtures and means by no product
    assert multiply_adds(tiny(CHANNELS_FIRST)) == sum(LINEARS_AND_ATTENTIONS.values()) + one_hot


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_d1_takes_seven_billion_multiply_adds(layout: Layout) -> None:
    architecture = VARIANTS["volo_d1_224"].architecture
    edge = decompose(reference(architecture, torch.float32), preprocessing_of(architecture), layout, consume=True)
    assert multiply_adds(edge) == pytest.approx(6.9e9, rel=0.02)
