"""Weights are rounded as well as they can be, in the layers that were asked for and no others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node
from torchao.prototype.quantization.codebook_coreml import CodebookQuantizedTensor
from torchao.quantization import IntxUnpackedToInt8Tensor
from torchao.quantization.pt2e.observer import HistogramObserver, MinMaxObserver

from tests.small import SMALL, edge_model, exported
from volo_edge.console import Steps
from volo_edge.decompose import LAYOUTS, EdgeVOLO
from volo_edge.quantize import SCHEMES, Scheme
from volo_edge.quantize.compensate import DAMPING, compensated
from volo_edge.quantize.export import quantize
from volo_edge.quantize.layers import precisions, quantizable
from volo_edge.quantize.palette import k_means, palettize
from volo_edge.quantize.schemes import FLOAT, INT4, INT8, INT8_FITTED, Precision, Weights
from volo_edge.quantize.static import static
from volo_edge.quantize.statistics import gather
from volo_edge.quantize.weights import quantize_weights

UNEVEN = dataclasses.replace(SMALL, embed_dims=(24, 32), num_heads=(2, 2))  # 24 inputs are no groups of 32
BACKENDS = ["xnnpack", "coreml"]  # one of each layout: Core AI computes what Core ML does
backends = pytest.mark.parametrize("backend", BACKENDS)
CONVERSIONS = [
    pytest.param(scheme, backend, id=f"{scheme.name}-{backend}")
    for scheme in SCHEMES.values()
    for backend in scheme.backends
    if scheme.quantizes
]


pytestmark = pytest.mark.usefixtures("one_thread")


def photographs(count: int, seed: int) -> Tensor:
    """Pixels (count, 3, H, W) of 0..255 that are alike where they are near, as in photographs, with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 4, generator=generator)
    grain = torch.randn(count, 3, *SMALL.image_size, generator=generator)
    smooth = F.interpolate(coarse, SMALL.image_size, mode="bicubic")
    return (255 * (smooth + 0.03 * grain)).clamp(0, 255)


def uncounted(_: int) -> None:
    """Shows no progress."""


def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        result: Tensor = model(images)
    return result


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


# --- rounding that makes up for itself


def correlated(inputs: int, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """Vectors (N, inputs) that are mostly mixtures of a few others."""
    few = max(1, inputs // 8)
    latent = torch.randn(4 * inputs, few, generator=generator, dtype=torch.float64)
    mixed = latent @ torch.randn(few, inputs, generator=generator, dtype=torch.float64)
    return (mixed + 0.1 * torch.randn(4 * inputs, inputs, generator=generator, dtype=torch.float64)).to(dtype)


def to_eighths(_: int, values: Tensor) -> Tensor:
    return (values * 8).round() / 8


def towards_zero(_: int, values: Tensor) -> Tensor:
    """Not a grid: a smooth function, so that the smallest difference stays the smallest."""
    return 0.9 * values.sin()


def one_at_a_time(weight: Tensor, products: Tensor, round_column: Callable[[int, Tensor], Tensor]) -> Tensor:
    """Optimal Brain Surgeon as it is told: of the columns left, round the first, and move the others to their optimum.

    The inverse is taken anew for every column, in double precision.
    """
    moments = products.double()
    moments = moments + DAMPING * moments.diagonal().mean() * torch.eye(len(moments), dtype=torch.float64)
    left, result = weight.double().clone(), torch.empty_like(weight, dtype=torch.float64)
    for column in range(weight.shape[1]):
        inverse = torch.linalg.inv(moments[column:, column:])
        result[:, column] = round_column(column, left[:, column])
        errors = (left[:, column] - result[:, column]) / inverse[0, 0]
        left[:, column:] -= errors[:, None] * inverse[0]
    return result


shapes = given(outputs=st.integers(8, 24), inputs=st.integers(32, 300), seed=st.integers(0, 2**31))


@shapes
@settings(deadline=None, max_examples=25)
def test_compensation_of_inputs_apart_from_each_other_is_plain_rounding(outputs: int, inputs: int, seed: int) -> None:
    weight = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(seed))
    for products in (torch.eye(inputs), 7 * torch.eye(inputs), torch.zeros(inputs, inputs)):
        assert torch.equal(compensated(weight, products, to_eighths), to_eighths(0, weight))


@shapes
@settings(deadline=None, max_examples=25)
def test_compensation_lessens_the_error_of_the_outputs(outputs: int, inputs: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight, x = torch.randn(outputs, inputs, generator=generator), correlated(inputs, generator)
    original = weight.clone()
    fitted = compensated(weight, x.T @ x, to_eighths)
    assert torch.equal(weight, original)
    assert torch.equal(fitted * 8, (fitted * 8).round())  # on the grid
    plain = to_eighths(0, weight)
    assert float((x @ (fitted - weight).T).norm()) < 0.8 * float((x @ (plain - weight).T).norm())


@given(outputs=st.integers(1, 8), inputs=st.integers(1, 150), seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=15)
def test_compensation_is_that_of_one_column_at_a_time(outputs: int, inputs: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight, x = torch.randn(outputs, inputs, generator=generator), correlated(inputs, generator)
    found = compensated(weight, x.T @ x, towards_zero)
    expected = one_at_a_time(weight, x.T @ x, towards_zero)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("inputs", [127, 128, 129, 256, 257])
def test_blocks_of_columns_meet(inputs: int) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(4, inputs, generator=generator), correlated(inputs, generator)
    found = compensated(weight, x.T @ x, towards_zero)
    expected = one_at_a_time(weight, x.T @ x, towards_zero)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-3)


def test_integers_are_those_of_one_column_at_a_time() -> None:
    generator = torch.Generator().manual_seed(1)
    weight, x = torch.randn(16, 200, generator=generator), correlated(200, generator)
    found = compensated(weight, x.T @ x, to_eighths)
    expected = one_at_a_time(weight, x.T @ x, to_eighths)
    assert (found.double() != expected).double().mean() < 0.02  # a tie decided otherwise changes what comes after it


def test_columns_are_rounded_in_order_and_by_number() -> None:
    seen = []

    def round_column(column: int, values: Tensor) -> Tensor:
        seen.append(column)
        return torch.full_like(values, column)

    result = compensated(torch.randn(3, 260), torch.eye(260), round_column)
    assert seen == list(range(260))
    assert torch.equal(result, torch.arange(260.0).expand(3, 260))


def test_a_layer_that_is_given_nothing_but_zeros_is_rounded_to_the_nearest() -> None:
    weight = torch.randn(4, 150, generator=torch.Generator().manual_seed(0))
    assert torch.equal(compensated(weight, torch.zeros(150, 150), to_eighths), to_eighths(0, weight))


def test_inputs_that_are_never_seen_do_no_harm() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(6, 140, generator=generator), correlated(140, generator)
    x[:, [0, 5, 139]] = 0
    found = compensated(weight, x.T @ x, to_eighths)
    assert found.isfinite().all()
    assert torch.equal(found[:, 0], to_eighths(0, weight[:, 0]))


# --- tables


values_of_any_kind = st.lists(st.floats(-8, 8, width=32, allow_subnormal=False), min_size=1, max_size=120)
counts = st.sampled_from([2, 4, 16, 64])


def squared_error(values: Tensor, centres: Tensor) -> float:
    nearest = centres[torch.bucketize(values, (centres[1:] + centres[:-1]) / 2)]
    return float((values.double() - nearest.double()).square().sum())


@given(values=values_of_any_kind, count=counts)
@settings(deadline=None, max_examples=60)
def test_centres_ascend_within_the_values(values: list[float], count: int) -> None:
    given_values = torch.tensor(values)
    centres = k_means(given_values, count)
    assert centres.shape == (count,)
    assert centres.dtype == torch.float32
    assert (centres.diff() >= 0).all()
    slack = 1e-5 * float(given_values.abs().max())
    assert given_values.min() - slack <= centres[0] <= centres[-1] <= given_values.max() + slack


@given(different=st.sets(st.integers(-1000, 1000), min_size=1, max_size=16), data=st.data())
@settings(deadline=None, max_examples=60)
def test_no_more_different_values_than_centres_are_kept_exactly(different: set[int], data: st.DataObject) -> None:
    repeats = data.draw(st.lists(st.integers(1, 300), min_size=len(different), max_size=len(different)))
    values = torch.tensor(sorted(different)).repeat_interleave(torch.tensor(repeats)).float() / 7
    assert squared_error(values, k_means(values, 16)) == 0


@given(values=values_of_any_kind, count=counts)
@settings(deadline=None, max_examples=60)
def test_a_centre_is_the_mean_of_its_values(values: list[float], count: int) -> None:
    given_values = torch.tensor(values)
    centres = k_means(given_values, count)
    distances = (given_values[:, None] - centres).abs()
    apart = (distances.sort(1).values.diff(dim=1)[:, 0] > 1e-4) | (distances.min(1).values < 1e-6)
    if not bool(apart.all()):  # halfway between two centres, or two that are the same
        return
    nearest = distances.argmin(1)
    for number in set(nearest.tolist()):
        mean = given_values[nearest == number].double().mean()
        assert float((mean - centres[number]).abs()) < 1e-4


# Of both signs, as weights are: of one-sided values, Lloyd's algorithm can come to rest worse than 256 even levels.
DISTRIBUTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "normal": lambda normal, uniform: normal,
    "uniform": lambda normal, uniform: uniform,
    "laplace": lambda normal, uniform: normal.sign() * -uniform.log(),
    "outliers": lambda normal, uniform: normal / uniform.sqrt(),
    "two apart": lambda normal, uniform: normal + 40 * (uniform > 0.9),
}


@pytest.mark.parametrize("kind", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)
@given(bits=st.sampled_from([2, 4, 6, 8]), size=st.integers(10_000, 20_000), seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=20)
def test_centres_are_better_than_even_levels(
    kind: Callable[[Tensor, Tensor], Tensor], bits: int, size: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(size, generator=generator)
    values = kind(normal, torch.rand(size, generator=generator).clamp(min=1e-4))
    centres = k_means(values, 2**bits)
    even = torch.linspace(float(values.min()), float(values.max()), 2**bits)
    assert squared_error(values, centres) < squared_error(values, even)
    used = torch.bucketize(values, (centres[1:] + centres[:-1]) / 2)
    assert len(set(used.tolist())) == 2**bits  # none is wasted


@pytest.mark.parametrize("bits", [4, 6, 8])
@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 2)])
def test_a_convolution_with_a_palette_is_one_with_its_values(bits: int, fitted: bool, kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(20, 24, kernel, stride, kernel // 2).requires_grad_(False)
    original = conv.weight.data.clone()
    image = torch.randn(2, 20, 9, 7)
    inputs = 20 * kernel**2
    palettize(conv, bits, torch.eye(inputs) if fitted else None)
    stored = conv.weight
    assert isinstance(stored, CodebookQuantizedTensor)
    assert stored.codes.dtype == torch.int32
    assert stored.codes.shape == original.shape
    assert int(stored.codes.max()) < 2**bits == stored.codebook.numel()
    values = stored.dequantize()
    assert values.shape == original.shape
    centres = stored.codebook.flatten()
    assert torch.equal(values, centres[stored.codes.long()])
    nearest = (original.flatten()[:, None] - centres).abs().min(1).values.reshape(original.shape)
    torch.testing.assert_close((values - original).abs(), nearest, rtol=0, atol=1e-6)
    expected = F.conv2d(image, values, conv.bias, stride, kernel // 2)
    assert torch.equal(conv(image), expected)


# --- which layers


@backends
def test_quantizable_layers_are_those_with_trained_weights(backend: str) -> None:
    edge = edge_model(SMALL, LAYOUTS[backend])
    layers = quantizable(edge)
    block = [f"mlp.{name}" for name in ("fc1", "fc2")]
    attention = ["attn.q", "attn.k", "attn.v", "attn.proj"]
    assert sorted(layers) == sorted(
        [
            *(f"patch_embed.conv.{number}" for number in (0, 3, 6)),
            "patch_embed.proj",
            *(f"network.0.0.{name}" for name in ("attn.v", "attn.attn", "attn.proj", *block)),
            "network.1.proj",
            *(f"network.2.0.{name}" for name in (*attention, *block)),
            *(f"post_network.{number}.{name}" for number in (0, 1) for name in (*attention, *block)),
            "head",
            "aux_head",
        ]
    )
    assert all(edge.get_submodule(name) is layer for name, layer in layers.items())
    # what is left is biases, the norms' means, the embeddings and the constants
    held = {f"{name}.{parameter}" for name in layers for parameter in ("weight", "bias")}
    rest = {name for name in edge.state_dict() if name not in held}
    ends = ("mean.weight", "mean_square.weight", "mean_square.bias", "pool_factor", "one_hot", "pixel_mean.mean")
    assert rest - {"pos_embed", "cls_token"} == {name for name in rest if name.endswith(ends)}


def test_layers_are_called_the_same_in_both_layouts() -> None:
    first, second = (quantizable(edge_model(SMALL, LAYOUTS[backend])) for backend in BACKENDS)
    assert first.keys() == second.keys()
    for name, layer in first.items():
        assert layer.weight.numel() == second[name].weight.numel(), name


def test_a_scheme_gives_the_stem_its_own_precision() -> None:
    edge = edge_model(SMALL, LAYOUTS["xnnpack"])
    stem, projections = Precision(INT8_FITTED, "static"), Precision(INT4, "dynamic")
    scheme = dataclasses.replace(SCHEMES["fp32"], stem=stem, projections=projections)
    found = precisions(edge, scheme)
    assert found.keys() == quantizable(edge).keys() - {"patch_embed.conv.0"}
    assert {name for name, which in found.items() if which == stem} == {f"patch_embed.conv.{n}" for n in (3, 6)}
    assert found["patch_embed.proj"] == found["head"] == projections


def test_a_layer_that_is_float_is_not_named() -> None:
    edge = edge_model(SMALL, LAYOUTS["xnnpack"])
    assert precisions(edge, SCHEMES["fp32"]) == {}
    every = set(quantizable(edge))
    found = precisions(edge, SCHEMES["int8-dynamic"])
    assert every - set(found) == {f"patch_embed.conv.{n}" for n in (0, 3, 6)}
    assert FLOAT not in found.values()


def test_layers_can_be_kept_float() -> None:
    edge = edge_model(SMALL, LAYOUTS["xnnpack"])
    kept = {"head", "patch_embed.conv.0"}
    found = precisions(edge, SCHEMES["int8-hybrid"], kept)
    assert set(quantizable(edge)) - set(found) == kept


# --- statistics


def given_to(edge: EdgeVOLO, name: str, batches: list[Tensor]) -> list[Tensor]:
    found: list[Tensor] = []
    hook = quantizable(edge)[name].register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].clone()))
    for images in batches:
        logits_of(edge, images)
    hook.remove()
    return found


def assert_sums(found: Any, vectors: Tensor) -> None:
    """That they are of `vectors` (N, inputs)."""
    exact = vectors.double()
    assert found.count == len(exact)
    expected = exact.T @ exact
    assert float((found.products - expected).norm()) < 1e-5 * float(expected.norm())
    assert float((found.mean - exact.mean(0)).norm()) < 1e-5 * float(exact.mean(0).norm())


BATCHES = [photographs(2, seed=5), photographs(1, seed=6)]


@backends
@pytest.mark.parametrize("name", ["network.2.0.mlp.fc2", "head", "aux_head", "network.0.0.attn.attn"])
def test_statistics_of_a_projection_are_of_its_tokens(name: str, backend: str) -> None:
    edge = edge_model(SMALL, LAYOUTS[backend])
    found = gather(edge, [name], BATCHES, True, uncounted)
    axis = {"xnnpack": -1, "coreml": 1}[backend]
    vectors = torch.cat([x.movedim(axis, -1).flatten(0, -2) for x in given_to(edge, name, BATCHES)])
    assert found.keys() == {name}
    assert_sums(found[name], vectors)


@pytest.mark.parametrize("name", ["patch_embed.conv.0", "patch_embed.conv.3"])
def test_statistics_of_a_convolution_are_of_its_patches(name: str) -> None:
    edge = edge_model(SMALL, LAYOUTS["xnnpack"])
    found = gather(edge, [name], BATCHES, True, uncounted)
    conv = quantizable(edge)[name]
    assert isinstance(conv, nn.Conv2d)
    patches = []
    for image in torch.cat(given_to(edge, name, BATCHES)):
        pad, step, side = int(conv.padding[0]), conv.stride[0], conv.kernel_size[0]
        padded = F.pad(image, (pad,) * 4)
        for row in range(0, padded.shape[1] - side + 1, step):
            for column in range(0, padded.shape[2] - side + 1, step):
                patches.append(padded[:, row : row + side, column : column + side].flatten())
    assert_sums(found[name], torch.stack(patches))  # in the order of the weight's rows
    assert found[name].products.shape == (conv.weight[0].numel(),) * 2  # type: ignore[union-attr]


def test_layers_that_read_the_same_share_their_statistics() -> None:
    edge = edge_model(SMALL, LAYOUTS["xnnpack"])
    names = list(quantizable(edge))
    found = gather(edge, names, BATCHES, True, uncounted)
    assert list(found) and found.keys() == set(names)
    for block in ("network.2.0", "post_network.0", "post_network.1"):
        q, k, v = (found[f"{block}.attn.{part}"] for part in "qkv")
        assert k is v
        assert (q is k) == (block == "network.2.0")  # a class block's query reads its token alone
    assert len({id(sums) for sums in found.values()}) == len(names) - 2 - 1 - 1
    # and a sum that is shared is taken once
    for name in ("network.2.0.attn.v", "post_network.0.attn.v"):
        assert_sums(found[name], torch.cat([x.flatten(0, -2) for x in given_to(edge, name, BATCHES)]))


def test_products_are_not_taken_where_they_are_not_asked_for() -> None:
    edge = edge_model(SMALL, LAYOUTS["xnnpack"])
    seen: list[int] = []
    found = gather(edge, ["head"], BATCHES, False, seen.append)
    assert found["head"].products is None
    assert seen == [2, 1]
    vectors = torch.cat(given_to(edge, "head", BATCHES)).flatten(0, -2)
    torch.testing.assert_close(found["head"].mean, vectors.mean(0))


def test_nothing_watches_a_model_after_a_failure() -> None:
    edge = edge_model(SMALL, LAYOUTS["xnnpack"])

    def broken() -> Iterator[Tensor]:
        yield BATCHES[0]
        raise OSError("a photograph that cannot be read")

    with pytest.raises(OSError, match="cannot be read"):
        gather(edge, list(quantizable(edge)), broken(), True, uncounted)
    assert not any(module._forward_pre_hooks for module in edge.modules())


# --- weights


# Of the logits, on photographs that calibration has not seen; measured on UNEVEN, and a third more.
ERRORS = {
    "int8-dynamic": 0.037,
    "int8-hybrid": 0.037,
    "int8-static": 0.011,  # of its weights; activations are rounded later
    "int4-dynamic": 0.1,
    "int8-weight": 0.028,
    "int4-weight": 0.11,
    "palette8": 0.012,
    "palette6": 0.033,
    "palette4": 0.17,
}


def quantized(scheme: Scheme, backend: str) -> tuple[EdgeVOLO, EdgeVOLO, dict[str, Tensor]]:
    """A float edge model, the same quantized, and the scales that quantization returned."""
    edge, original = (edge_model(UNEVEN, LAYOUTS[backend]) for _ in range(2))
    chosen = precisions(edge, scheme)
    fitted = [name for name, which in chosen.items() if which.weights.compensated]
    inputs = gather(edge, fitted, [photographs(8, seed=1)], True, uncounted) if fitted else {}
    counted: list[int] = []
    scales = quantize_weights(edge, chosen, inputs, counted.append)
    assert counted == [1] * len(chosen)
    return original, edge, scales


@pytest.mark.parametrize(("scheme", "backend"), CONVERSIONS)
def test_a_quantized_model_is_near_the_float_one(scheme: Scheme, backend: str) -> None:
    original, edge, _ = quantized(scheme, backend)
    images = photographs(4, seed=9)
    error = relative_error(logits_of(edge, images), logits_of(original, images))
    assert 1e-4 < error < ERRORS[scheme.name]


@pytest.mark.parametrize(("scheme", "backend"), CONVERSIONS)
def test_weights_are_stored_as_the_scheme_says(scheme: Scheme, backend: str) -> None:
    original, edge, scales = quantized(scheme, backend)
    chosen = precisions(original, scheme)
    assert scales.keys() == {name for name, which in chosen.items() if which.activations == "static"}
    before = quantizable(original)
    for name, layer in quantizable(edge).items():
        which, weight, exact = chosen.get(name, FLOAT), layer.weight, before[name].weight
        assert weight.shape == exact.shape
        if which == FLOAT:
            assert torch.equal(weight, exact), name
        elif which.activations == "static":
            assert_multiples(weight, exact, scales[name])
        elif which.weights.kind == "palette":
            assert isinstance(weight, CodebookQuantizedTensor)
            assert weight.codebook.numel() == 2**which.weights.bits
            assert_near(weight.dequantize(), exact, which.weights.bits)
        else:
            assert isinstance(weight, IntxUnpackedToInt8Tensor)
            assert_integers(weight, exact, which)


NEAR = {8: 0.011, 6: 0.05, 4: 0.2}  # of weights of so many bits; measured on UNEVEN, and a third more


def assert_near(found: Tensor, exact: Tensor, bits: int) -> None:
    assert found.dtype == torch.float32
    assert relative_error(found, exact) < NEAR[bits]


def assert_multiples(weight: Tensor, exact: Tensor, scale: Tensor) -> None:
    assert type(weight.data) is Tensor
    assert scale.shape == (len(weight),)
    integers = weight.flatten(1) / scale[:, None]
    torch.testing.assert_close(integers, integers.round(), rtol=0, atol=1e-4)
    assert torch.equal(integers.round() * scale[:, None], weight.flatten(1))
    assert 100 < float(integers.abs().max()) <= 127.001
    assert_near(weight.data, exact, 8)


def assert_integers(weight: Any, exact: Tensor, which: Precision) -> None:
    bits = which.weights.bits
    inputs = exact[0].numel()
    group = which.weights.group if which.weights.group and inputs % which.weights.group == 0 else inputs
    assert weight.target_dtype == getattr(torch, f"int{bits}")
    assert weight.qdata.dtype == torch.int8
    assert -(2 ** (bits - 1)) <= int(weight.qdata.min()) < 0 < int(weight.qdata.max()) < 2 ** (bits - 1)
    assert not weight.zero_point.any()
    assert weight.block_size == (1, group, *(1,) * (exact.dim() - 2))
    assert weight.scale.dtype == torch.float32  # coremltools has no bfloat16
    assert weight.scale.numel() == exact.numel() // group
    if which.weights.group and group != inputs:
        assert torch.equal(weight.scale.bfloat16().float(), weight.scale)  # XNNPACK has nothing else
        assert torch.equal(weight.scale.half().float(), weight.scale)  # and Core ML computes in half precision
    assert str(weight.activation_quantization) == {"dynamic": "int8_asym_per_token", "float": "None"}[which.activations]
    scales = weight.scale.flatten(1).repeat_interleave(group, 1)
    assert torch.equal(weight.dequantize().flatten(1), weight.qdata.flatten(1) * scales)
    assert_near(weight.dequantize(), exact, bits)


@backends
def test_layers_whose_inputs_are_no_whole_groups_have_a_scale_a_row(backend: str) -> None:
    edge = edge_model(UNEVEN, LAYOUTS[backend])
    plain = Precision(dataclasses.replace(INT4, compensated=False), "dynamic" if backend == "xnnpack" else "float")
    quantize_weights(edge, dict.fromkeys(("network.0.0.attn.v", "head"), plain), {})
    assert scales_of(edge, "network.0.0.attn.v").numel() == 24
    assert scales_of(edge, "head").numel() == 5
    wide = edge_model(SMALL, LAYOUTS[backend])
    quantize_weights(wide, {"network.0.0.mlp.fc2": plain}, {})
    assert scales_of(wide, "network.0.0.mlp.fc2").shape[:2] == (32, 3)


def scales_of(edge: EdgeVOLO, name: str) -> Tensor:
    weight = quantizable(edge)[name].weight
    assert isinstance(weight, IntxUnpackedToInt8Tensor)
    result: Tensor = weight.scale
    return result


@pytest.mark.parametrize(
    "which", [Precision(INT8), Precision(Weights("integer", 4, group=32)), Precision(INT8, "static")]
)
def test_rounding_alone_is_to_the_nearest(which: Precision) -> None:
    edge, original = (edge_model(SMALL, LAYOUTS["coreml"]) for _ in range(2))
    name = "network.2.0.mlp.fc2"
    scales = quantize_weights(edge, {name: which}, {})
    found, exact = quantizable(edge)[name].weight, quantizable(original)[name].weight.flatten(1)
    if which.activations == "static":
        step, values = scales[name][:, None], found.flatten(1)
    else:
        assert isinstance(found, IntxUnpackedToInt8Tensor)
        columns = exact.shape[1] // found.scale.shape[1]
        step, values = found.scale.flatten(1).repeat_interleave(columns, 1), found.dequantize().flatten(1)
        highest = (2 ** (which.weights.bits - 1) - 1) * step
        exact = exact.clamp(-highest - step, highest)
    # torchao rounds to integers before it rounds the scale to bfloat16, by 2**-9 at most
    slack = 8 * 2**-9 if which.weights.group else 1e-3
    assert ((values - exact).abs() <= (0.5 + slack) * step).all()


def test_a_layer_of_zeros_stays_one() -> None:
    for scheme, backend in (("int8-static", "xnnpack"), ("int4-weight", "coreml"), ("palette4", "coreml")):
        edge = edge_model(SMALL, LAYOUTS[backend])
        head = quantizable(edge)["head"]
        head.weight.data.zero_()
        chosen = {"head": precisions(edge, SCHEMES[scheme])["head"]}
        quantize_weights(edge, chosen, gather(edge, chosen, BATCHES, True, uncounted))
        weight: Any = head.weight
        values = weight.data if type(weight.data) is Tensor else weight.dequantize()
        assert torch.equal(values, torch.zeros_like(values)), scheme


# --- activations


RELU = (torch.ops.aten.relu.default, torch.ops.aten.relu_.default)


def quantization(program: ExportedProgram, start: str) -> list[Node]:
    return [node for node in program.graph.nodes if called(node) == start]


def called(node: Any) -> str:
    return str(node.target).removeprefix("quantized_decomposed.").split(".")[0]


def layer_nodes(program: ExportedProgram) -> dict[str, Node]:
    """The linears and convolutions of layers, by the layers' names."""
    kinds = (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default)
    found = {}
    for node in program.graph.nodes:
        stack = list(node.meta.get("nn_module_stack", {}).values())
        if node.target in kinds and stack:
            found[str(stack[-1][0])] = node
    return found


def buffer(program: ExportedProgram, node: Any) -> Tensor:
    name = program.graph_signature.inputs_to_buffers[node.name]
    result: Tensor = program.state_dict[name] if name in program.state_dict else program.constants[name]
    return result


def in_static(
    scheme: Scheme, backend: str, keep_float: tuple[str, ...] = (), observer: Any = MinMaxObserver
) -> tuple[ExportedProgram, dict[str, Tensor], dict[str, Tensor]]:
    """The program quantized, the scales, and the float weights that are multiples of them."""
    edge = edge_model(SMALL, LAYOUTS[backend])
    chosen = precisions(edge, scheme, keep_float)
    fitted = [name for name, which in chosen.items() if which.weights.compensated]
    scales = quantize_weights(edge, chosen, gather(edge, fitted, [photographs(4, seed=1)], True, uncounted))
    weights = {name: quantizable(edge)[name].weight.data.clone() for name in scales}
    program = static(exported(edge), scales, backend, [(photographs(4, seed=1),)], uncounted, observer=observer)
    return program, scales, weights


def assert_quantized(
    program: ExportedProgram, backend: str, scales: dict[str, Tensor], weights: dict[str, Tensor]
) -> None:
    """That exactly these layers are, with these weights and scales, and nothing besides them."""
    nodes = layer_nodes(program)
    assert scales.keys() <= nodes.keys()
    assert len(quantization(program, "dequantize_per_channel")) == len(scales)
    rounded = set()
    for name, scale in scales.items():
        node, exact = nodes[name], weights[name]
        given_value, weight, *_ = node.args
        assert isinstance(given_value, Node) and isinstance(weight, Node)
        assert called(weight) == "dequantize_per_channel", name
        integers, stored, zeros, axis, lowest, highest, dtype = weight.args
        assert (axis, lowest, highest, dtype) == (0, -127, 127, torch.int8)
        assert torch.equal(buffer(program, stored), scale)
        assert not buffer(program, zeros).any()
        values = buffer(program, integers).float() * scale.reshape(-1, *(1,) * (exact.dim() - 1))
        assert torch.equal(values, exact), name  # exactly

        assert called(given_value) == "dequantize_per_tensor", name
        source: Any = given_value.args[0]
        if called(source) == "quantize_per_tensor":  # the class token's norm is a constant, and rounded already
            rounded.add(source.args[0])
        else:
            assert (name, buffer(program, source).dtype) == ("post_network.0.attn.q", torch.int8)
        if name.startswith("patch_embed.conv."):
            (node,) = node.users
            assert node.target in RELU  # which the layer computes too
        if backend == "xnnpack":
            rounded.add(node)
    made = quantization(program, "quantize_per_tensor")
    assert {node.args[0] for node in made} == rounded  # no concatenation but those that a layer reads
    assert len(made) == len(rounded)  # and each once, whoever reads it
    for value, _, zero_point, lowest, highest, dtype in (node.args for node in made):
        assert isinstance(value, Node)
        if backend == "coreml" and value.target in RELU:
            assert (zero_point, lowest, highest, dtype) == (0, 0, 255, torch.uint8)
        else:
            assert (lowest, highest, dtype) == (-128, 127, torch.int8)
            assert backend == "xnnpack" or zero_point == 0


@backends
def test_a_relu_belongs_to_its_layer_and_has_no_sign_in_core_ml(backend: str) -> None:
    """Of a convolution with a ReLU and one without, whose input is noise of both signs."""
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1)).eval().requires_grad_(False)
    scales = {name: torch.full((len(model.get_submodule(name).weight),), 2**-7) for name in ("0", "2")}
    for name in scales:
        weight = model.get_submodule(name).weight
        weight.data = (weight.data * 2**7).round() * 2**-7
    images = torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    program = torch.export.export(model, (images[:1],), strict=False)
    found = static(program, scales, backend, [(images,)], uncounted, observer=MinMaxObserver)
    made = {str(node.args[0].target): node.args[2:] for node in quantization(found, "quantize_per_tensor")}  # type: ignore[union-attr]
    relu, conv = "aten.relu.default", "aten.conv2d.default"
    signed, unsigned = (-128, 127, torch.int8), (0, 255, torch.uint8)
    if backend == "xnnpack":  # the input, the ReLU and the output, and not what is between a layer and its ReLU
        assert set(made) == {"input", relu, conv}
        assert len(quantization(found, "quantize_per_tensor")) == 3
        assert made[relu] == (-128, *signed) and made["input"][1:] == signed
    else:
        assert {name: levels[1:] for name, levels in made.items()} == {"input": signed, relu: unsigned}
        assert {levels[0] for levels in made.values()} == {0}


@pytest.mark.slow
def test_only_the_stem_is_static_in_a_hybrid() -> None:
    program, scales, weights = in_static(SCHEMES["int8-hybrid"], "xnnpack", observer=HistogramObserver)
    assert scales.keys() == {f"patch_embed.conv.{number}" for number in (3, 6)}
    assert_quantized(program, "xnnpack", scales, weights)
    assert len(quantization(program, "quantize_per_tensor")) == 3  # what each ReLU makes, and not the pixels
    zero_points = [node.args[2] for node in quantization(program, "quantize_per_tensor")]
    assert zero_points == [-128] * 3  # nothing is below zero after a ReLU


@pytest.mark.slow
@backends
def test_all_layers_are_static(backend: str) -> None:
    program, scales, weights = in_static(SCHEMES["int8-static"], backend)
    edge = edge_model(SMALL, LAYOUTS[backend])
    assert scales.keys() == quantizable(edge).keys() - {"patch_embed.conv.0"}  # which reads pixels
    assert_quantized(program, backend, scales, weights)
    images = photographs(4, seed=9)
    quantized_logits = torch.cat([logits_of(program.module(), image) for image in images[:, None]])
    assert relative_error(quantized_logits, logits_of(edge, images)) < 0.05


@pytest.mark.slow
@backends
def test_layers_kept_float_are_not_static(backend: str) -> None:
    kept = ("patch_embed.proj", "network.0.0.attn.v", "network.2.0.attn.q", "post_network.0.attn.q", "head")
    program, scales, weights = in_static(SCHEMES["int8-static"], backend, kept)
    assert not scales.keys() & set(kept)
    assert_quantized(program, backend, scales, weights)


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "backend"), CONVERSIONS)
def test_the_program_computes_what_the_quantized_model_does(scheme: Scheme, backend: str) -> None:
    images = photographs(3, seed=9)
    chosen = precisions(edge_model(UNEVEN, LAYOUTS[backend]), scheme)
    program = quantize(
        edge_model(UNEVEN, LAYOUTS[backend]),
        chosen,
        backend,
        lambda: iter([photographs(8, seed=1)]),
        8,
        Steps(None),
        **({"observer": MinMaxObserver} if scheme.stem.activations == "static" else {}),
    )
    found = torch.cat([logits_of(program.module(), image) for image in images[:, None]])
    original, edge, scales = quantized(scheme, backend)
    expected = logits_of(edge, images)
    if scales:  # whose activations are rounded besides
        assert relative_error(found, expected) < 0.08
    else:
        assert relative_error(found, expected) < 1e-5
    assert relative_error(found, logits_of(original, images)) > 1e-4
