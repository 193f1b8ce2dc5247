"""The rewrites that make a model easy to quantize leave its function as it was, and do what they are for."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.exactness import PRECISIONS, SMALL, logits_of, noise, reference, relative_error
from tests.small import preprocessing_of
from tests.twin import SPREAD, make_twin
from volo_edge.decompose import fold
from volo_edge.decompose.rewrites import blocks
from volo_edge.model import VOLO, Attention, OutlookAttention
from volo_edge.preprocess import normalize
from volo_edge.quantize.transforms import ROBUST, equalize, rotate, rotation
from volo_edge.variants import Architecture

ARCHITECTURES: dict[str, Architecture] = {
    "small": SMALL,
    "oblong and odd": dataclasses.replace(SMALL, image_size=(72, 88)),
    "qkv bias": dataclasses.replace(SMALL, qkv_bias=True),
    "no aux head": dataclasses.replace(SMALL, aux_head=False),
    "no stem": dataclasses.replace(SMALL, stem_hidden_dim=0),
    "large windows": dataclasses.replace(SMALL, outlook_kernel=5, outlook_padding=2),
}
architectures = pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)

pytestmark = pytest.mark.usefixtures("one_thread")


def folded(architecture: Architecture, dtype: torch.dtype = torch.float64) -> VOLO:
    model = reference(architecture, dtype)
    fold(model, preprocessing_of(architecture))
    return model


def both(model: VOLO) -> None:
    for rewrite in ROBUST:
        rewrite(model)


# --- the function stays


@pytest.mark.parametrize(("dtype", "bound"), PRECISIONS)
@pytest.mark.parametrize("rewrite", [equalize, rotate, both], ids=["equalize", "rotate", "both"])
@architectures
def test_the_function_stays(
    architecture: Architecture, rewrite: Callable[[VOLO], None], dtype: torch.dtype, bound: float
) -> None:
    model = reference(architecture, dtype)
    make_twin(model)  # so that there is much to do
    fold(model, preprocessing_of(architecture))
    pixels = noise(architecture, dtype=dtype)
    expected, before = logits_of(model, pixels), copy.deepcopy(model.state_dict())
    rewrite(model)
    assert relative_error(logits_of(model, pixels), expected) < bound
    after = model.state_dict()
    assert after.keys() == before.keys()  # no bias is made or lost
    assert all(tensor.dtype == dtype for tensor in after.values())
    proj = "network.2.0.attn.proj.weight"
    assert not torch.allclose(after[proj], before[proj], rtol=1e-3)  # it did something


@pytest.mark.parametrize(("dtype", "bound"), PRECISIONS)
@architectures
def test_the_twin_has_the_same_function(architecture: Architecture, dtype: torch.dtype, bound: float) -> None:
    model = reference(architecture, dtype)
    images = normalize(noise(architecture, dtype=dtype), preprocessing_of(architecture))
    expected, keys = logits_of(model, images), model.state_dict().keys()
    make_twin(model)
    assert relative_error(logits_of(model, images), expected) < bound
    assert model.state_dict().keys() == keys
    assert all(tensor.dtype == dtype for name, tensor in model.state_dict().items() if "num_batches" not in name)


@pytest.mark.parametrize(("dtype", "bound"), PRECISIONS)
def test_the_twin_made_easy_has_the_same_function(dtype: torch.dtype, bound: float) -> None:
    architecture = ARCHITECTURES["oblong and odd"]
    model = reference(architecture, dtype)
    pixels = noise(architecture, dtype=dtype)
    expected = logits_of(model, normalize(pixels, preprocessing_of(architecture)))
    make_twin(model)
    fold(model, preprocessing_of(architecture))
    both(model)
    assert relative_error(logits_of(model, pixels), expected) < bound


# --- the twin


def scaled_rows(model: VOLO) -> Iterator[tuple[str, Tensor]]:
    """The weights (channels, ...) that a twin scales channel by channel, by what they make."""
    for number, block in enumerate(blocks(model)):
        attn: Any = block.attn
        if isinstance(attn, OutlookAttention):
            yield f"{number} value", attn.v.weight
        elif isinstance(attn, Attention):
            query, key, value = attn.qkv.weight.chunk(3)
            yield from ((f"{number} query", query), (f"{number} key", key), (f"{number} value", value))
        else:
            key, value = attn.kv.weight.chunk(2)
            yield from ((f"{number} query", attn.q.weight), (f"{number} key", key), (f"{number} value", value))
        yield f"{number} read values", attn.proj.weight.T
    for number, layer in enumerate(model.patch_embed.conv):
        if isinstance(layer, nn.BatchNorm2d):
            yield f"stem {number} made", layer.weight
        if isinstance(layer, nn.Conv2d) and number:
            yield f"stem {number} read", layer.weight.transpose(0, 1)
    if len(model.patch_embed.conv):
        yield "stem read last", model.patch_embed.proj.weight.transpose(0, 1)


@architectures
def test_every_channel_of_the_twin_is_scaled(architecture: Architecture) -> None:
    model, twin, other = (reference(architecture) for _ in range(3))
    make_twin(twin)
    make_twin(other, seed=1)
    drawn = []
    for (name, before), (_, after), (_, elsewhere) in zip(*map(scaled_rows, (model, twin, other)), strict=True):
        ratio = (after / before).detach().reshape(len(before), -1)
        torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-9, atol=0)  # one factor a channel
        factor = ratio[:, 0]
        assert 1 / SPREAD <= factor.min() <= factor.max() <= SPREAD, name
        assert factor.max() / factor.min() > SPREAD / 4, name
        assert not torch.isclose(factor, (elsewhere / before).reshape(len(before), -1)[:, 0]).any(), name
        drawn.append(factor)
    logs = torch.cat(drawn).log() / torch.tensor(SPREAD).log()
    assert abs(float(logs.abs().mean()) - 0.5) < 0.1  # log-uniform in -1..1


# --- equalize


@architectures
def test_a_model_and_its_twin_are_equalized_to_the_same_weights(architecture: Architecture) -> None:
    model, twin = reference(architecture), reference(architecture)
    make_twin(twin)
    for each in (model, twin):
        fold(each, preprocessing_of(architecture))
    found, expected = twin.state_dict(), model.state_dict()
    proj = "network.2.0.attn.proj.weight"
    assert float((found[proj] - expected[proj]).norm() / expected[proj].norm()) > 1
    for each in (model, twin):
        equalize(each)
    found, expected = twin.state_dict(), model.state_dict()
    for name, tensor in expected.items():
        assert float((found[name] - tensor).norm()) <= 1e-5 * float(tensor.norm()), name


@architectures
def test_equalized_channels_are_made_and_read_with_the_same_norm(architecture: Architecture) -> None:
    model = reference(architecture)
    make_twin(model)
    fold(model, preprocessing_of(architecture))
    equalize(model)
    rows = {name: weight.flatten(1).norm(dim=1) for name, weight in scaled_rows(model)}
    for number in range(len(list(blocks(model)))):
        torch.testing.assert_close(rows[f"{number} value"], rows[f"{number} read values"], rtol=1e-9, atol=0)
        if f"{number} query" in rows:
            torch.testing.assert_close(rows[f"{number} query"], rows[f"{number} key"], rtol=1e-9, atol=0)
    stem = [layer for layer in model.patch_embed.conv if isinstance(layer, nn.Conv2d)]
    for maker, reader in itertools.pairwise([*stem, model.patch_embed.proj]):
        made, read = maker.weight.flatten(1).norm(dim=1), reader.weight.transpose(0, 1).flatten(1).norm(dim=1)
        torch.testing.assert_close(made, read, rtol=1e-5, atol=0)


def test_equalizing_twice_is_equalizing_once() -> None:
    model = folded(SMALL)
    equalize(model)
    before = copy.deepcopy(model.state_dict())
    equalize(model)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=1e-5, atol=1e-12)


def test_dead_channels_are_left_alone() -> None:
    model = folded(dataclasses.replace(SMALL, qkv_bias=True))
    attentions: list[Any] = [block.attn for block in blocks(model)]
    outlooker, attention, last = attentions[0], attentions[2], attentions[-1]
    outlooker.v.weight.data[3] = 0  # never made, or its bias alone
    outlooker.proj.weight.data[:, 5] = 0  # never read
    attention.qkv.weight.data[2] = 0  # a query
    attention.qkv.weight.data[24 + 7] = 0  # a key
    attention.qkv.weight.data[11] = attention.qkv.weight.data[24 + 11] = 0  # both
    attention.proj.weight.data[:, 4] = 0
    last.kv.weight.data[24 + 1] = 0
    stem = [layer for layer in model.patch_embed.conv if isinstance(layer, nn.Conv2d)]
    stem[0].weight.data[1] = 0
    stem[1].weight.data[:, 2] = 0
    stem[2].weight.data[6] = 0
    model.patch_embed.proj.weight.data[:, 0] = 0
    pixels = noise(SMALL)
    expected, before = logits_of(model, pixels), copy.deepcopy(model.state_dict())
    equalize(model)
    assert all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values())
    assert relative_error(logits_of(model, pixels), expected) < 1e-10
    after = model.state_dict()
    for name, channel in (("network.0.0.attn.proj.weight", 3), ("network.2.0.attn.proj.weight", 9)):
        same = torch.equal(after[name][:, channel], before[name][:, channel])
        assert same == (channel == 3)  # a channel that is not dead is scaled


# --- rotate


@given(width=st.integers(1, 200), seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=60)
def test_a_rotation_is_orthogonal_symmetric_and_keeps_ones(width: int, seed: int) -> None:
    matrix = rotation(width, seed)
    assert matrix.shape == (width, width)
    assert matrix.dtype == torch.float64
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(width, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-12)
    ones = torch.ones(width, dtype=torch.float64)
    torch.testing.assert_close(matrix @ ones, ones, rtol=0, atol=1e-12)


def test_rotations_follow_from_their_seeds() -> None:
    assert torch.equal(rotation(48, 3), rotation(48, 3))
    for seed, other in itertools.combinations(range(5), 2):
        assert float((rotation(48, seed) - rotation(48, other)).abs().max()) > 0.1


@pytest.mark.parametrize("width", [96, 192, 384])
def test_a_rotation_spreads_every_channel(width: int) -> None:
    for seed in range(5):
        assert float(rotation(width, seed).abs().max()) < 5 / width**0.5  # Hadamard's would be 1 / sqrt(width)


WIDE = dataclasses.replace(SMALL, layers=(2, 1), embed_dims=(96, 192), num_heads=(3, 6), mlp_ratios=(3.0, 3.0))


def peaks(model: VOLO, pixels: Tensor) -> dict[str, float]:
    """Of the tokens that each block is given, the largest value over the root mean square."""
    found: dict[str, float] = {}
    hooks = []
    for number, block in enumerate(blocks(model)):

        def keep(_: nn.Module, inputs: tuple[Tensor, ...], name: str = f"{number}") -> None:
            found[name] = float(inputs[0].abs().max() / inputs[0].square().mean().sqrt())

        hooks.append(block.register_forward_pre_hook(keep))
    logits_of(model, pixels)
    for hook in hooks:
        hook.remove()
    return found


def test_an_outlier_channel_of_the_residual_stream_disappears() -> None:
    model = folded(WIDE, torch.float32)
    model.patch_embed.proj.weight.data[20] *= 50  # one channel of the outlookers' tokens
    model.pos_embed.data[..., 70] += 60  # and one of the transformers'
    model.cls_token.data[..., 70] += 60
    pixels = noise(WIDE, dtype=torch.float32)
    expected, before = logits_of(model, pixels), peaks(model, pixels)
    rotate(model)
    after = peaks(model, pixels)
    assert len(before) == 5
    assert min(before.values()) > 8
    assert all(after[name] < before[name] / 2 for name in before)
    assert relative_error(logits_of(model, pixels), expected) < 1e-5
