"""The float reference against timm's logits, and its generality against slow and plain formulations."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.weights import image, named_weights
from volo_edge.errors import RequestError
from volo_edge.model import VOLO, OutlookAttention
from volo_edge.variants import VARIANTS, Architecture

ORACLES: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "timm_volo.json").read_text())["models"]
FAST = ("volo_d1_224", *(name for name in ORACLES if name.startswith("small_")))


def _architecture(name: str) -> Architecture:
    if name in VARIANTS:
        return VARIANTS[name].architecture
    arguments = dict(ORACLES[name]["arguments"])
    del arguments["img_size"]
    aux_head = arguments.pop("use_aux_head", True)
    arguments["mlp_ratios"] = [arguments.pop("mlp_ratio", 3.0)] * len(arguments["layers"])
    frozen: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
    return Architecture(**frozen, aux_head=aux_head, image_size=tuple(ORACLES[name]["image_size"]))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in ORACLES]
)
def test_agrees_with_timm(name: str) -> None:
    oracle = ORACLES[name]
    with torch.device("meta"):
        model = VOLO(_architecture(name))
    assert model.architecture.image_size == tuple(oracle["image_size"])
    assert sum(p.numel() for p in model.parameters()) == oracle["parameters"]
    assert len(model.state_dict()) == oracle["keys"]

    with torch.no_grad():
        logits = named_weights(model)(torch.from_numpy(image(model.architecture.image_size)))[0]
    expected = torch.tensor(oracle["logits"])
    assert torch.linalg.vector_norm(logits - expected) / torch.linalg.vector_norm(expected) < 1e-5


def _outlook(layer: OutlookAttention, x: Tensor) -> Tensor:
    """Outlook attention of one image (H, W, C), a window, a head and a tap at a time."""
    height, width, dim = x.shape
    kernel, padding, stride, heads = layer.kernel, layer.padding, layer.stride, layer.num_heads
    depth = dim // heads
    values = x @ layer.v.weight.T + (0 if layer.v.bias is None else layer.v.bias)
    mixed = torch.zeros_like(x)
    for top, left in itertools.product(range(0, height, stride), range(0, width, stride)):
        cell = x[top : top + stride, left : left + stride].reshape(-1, dim)
        scores = layer.attn.weight @ cell.mean(0) + layer.attn.bias
        taps = [
            (top - padding + row, left - padding + column)
            for row, column in itertools.product(range(kernel), range(kernel))
        ]
        for head in range(heads):
            channels = slice(head * depth, (head + 1) * depth)
            for target, (row, column) in enumerate(taps):
                if not (0 <= row < height and 0 <= column < width):
                    continue
                first = (head * kernel**2 + target) * kernel**2
                weights = torch.softmax(scores[first : first + kernel**2] / depth**0.5, 0)
                for weight, (r, c) in zip(weights, taps, strict=True):
                    if 0 <= r < height and 0 <= c < width:  # a tap outside takes its weight and gives nothing
                        mixed[row, column, channels] += weight * values[r, c, channels]
    return mixed @ layer.proj.weight.T + layer.proj.bias


@pytest.mark.parametrize("grid", [(4, 4), (5, 5), (3, 6), (7, 2), (1, 5)])
@pytest.mark.parametrize(("window", "heads"), [((3, 1, 2), 1), ((3, 1, 2), 3), ((3, 1, 1), 2), ((5, 2, 2), 2)])
def test_outlook_attention_is_its_definition(grid: tuple[int, int], window: tuple[int, int, int], heads: int) -> None:
    torch.manual_seed(0)
    layer = OutlookAttention(6, heads, *window, qkv_bias=heads == 2).double()
    x = torch.randn(2, *grid, 6, dtype=torch.float64)
    with torch.no_grad():
        expected = torch.stack([_outlook(layer, one) for one in x])
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


SMALL: dict[str, Any] = {
    "layers": (1, 1, 1),
    "embed_dims": (12, 24, 24),
    "num_heads": (2, 4, 4),
    "mlp_ratios": (3.0, 3.0, 3.0),
    "num_classes": 5,
}


@pytest.mark.parametrize("stem", [0, 8])
@pytest.mark.parametrize("patch", [4, 8, 16])
@pytest.mark.parametrize("grid", [(4, 4), (5, 8)])
def test_patch_sizes_with_and_without_the_stem(grid: tuple[int, int], patch: int, stem: int) -> None:
    size = (grid[0] * patch, grid[1] * patch)
    architecture = Architecture(**SMALL, patch_size=patch, stem_hidden_dim=stem, image_size=size)
    model = named_weights(VOLO(architecture))
    assert len(model.patch_embed.conv) == (9 if stem else 0)
    images = torch.from_numpy(image(size)).repeat(3, 1, 1, 1)
    with torch.no_grad():
        assert model.patch_embed(images).shape == (3, 12, *grid)
        logits = model(images)
    assert tuple(model.pos_embed.shape) == (1, grid[0] // 2, grid[1] // 2, 24)
    assert logits.shape == (3, 5)
    assert logits.isfinite().all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_size": (225, 224)}, "225x224"),
        ({"image_size": (224, 100)}, "multiples of 8"),
        ({"image_size": (8, 8)}, "16 at least"),
        ({"image_size": (0, 64)}, "0x64"),
        ({"image_size": (64, -64)}, "64x-64"),
        ({"patch_size": 5}, "patch size 5"),
        ({"outlook_kernel": 4}, "odd kernel"),
        ({"outlook_stride": 0}, "outlook_stride is 0, and must be 1 to 99"),
        ({"outlook_padding": 0}, "does not cover"),
    ],
)
def test_what_no_model_can_be_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError) as refused:
        Architecture(**{**SMALL, **change})
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
