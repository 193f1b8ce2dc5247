"""Which VOLO tensors are of: a published one, or any that their shapes describe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import torch

from volo_edge.checkpoint.text import few, listed, quoted, size
from volo_edge.errors import RequestError
from volo_edge.model import VOLO
from volo_edge.trained import Assumed, Untold
from volo_edge.variants import VARIANTS, Architecture, Variant

Shapes = Mapping[str, tuple[int, ...]]

CUSTOM = "volo"  # the name of a model that is none of `VARIANTS`
PUBLISHED = "the published VOLOs"


@cache
def expected(architecture: Architecture) -> Shapes:
    """Shape of every tensor that a checkpoint of `architecture` must hold, by name."""
    with torch.device("meta"):
        state = VOLO(architecture).state_dict()
    return {name: tuple(t.shape) for name, t in state.items() if not name.endswith(".num_batches_tracked")}


def require(architecture: Architecture, shapes: Shapes, what: str) -> None:
    """RequestError where tensors of `shapes` are not those of `architecture`, which is `what`."""
    if problems := differences(expected(architecture), shapes):
        raise RequestError(f"does not fit {what}: {problems}")


def named(variant: Variant, shapes: Shapes, image_size: tuple[int, int] | None) -> Architecture:
    """The architecture of a variant that was named, with what `shapes` decide; RequestError where they do not fit."""
    architecture = fitted(variant.architecture, shapes, image_size or variant.architecture.image_size)
    require(architecture, shapes, variant.name)
    return architecture


def detect(shapes: Shapes, image_size: tuple[int, int] | None) -> tuple[Variant, Architecture] | None:
    """The variant that `shapes` are of, and its architecture with what they decide; None where they are of none."""
    grid = trained_grid(shapes)
    fits = []
    for variant in VARIANTS.values():
        architecture = fitted(variant.architecture, shapes, trained_size(variant.architecture, grid))
        if not differences(expected(architecture), shapes):
            fits.append(variant)
    if not fits:
        return None
    # one architecture's variants differ in image size only
    variant = next((v for v in fits if v.architecture.coarse_grid == grid), fits[0])
    chosen = image_size or trained_size(variant.architecture, grid)
    return variant, fitted(variant.architecture, shapes, chosen)


def describe(
    shapes: Shapes, image_size: tuple[int, int] | None, untold: Untold | None, heads: tuple[int, ...] | None
) -> tuple[Architecture, Assumed | None]:
    """The VOLO that `shapes` describe, and what was assumed of it: heads, where nobody says them.

    Args:
        untold: what `--architecture` says.
        heads: of each stage, where somebody says them.

    Raises:
        RequestError: they describe none.
    """
    stages = _stages(shapes)
    widths = tuple(_shape(shapes, f"network.{stage}.0.norm1.weight", 1)[0] for stage in stages)
    hidden = tuple(_shape(shapes, f"network.{stage}.0.mlp.fc1.weight", 2)[0] for stage in stages)
    stem = shapes.get("patch_embed.conv.0.weight")
    channels, patch = (_shape(shapes, "patch_embed.proj.weight", 4)[axis] for axis in (1, 2))
    if stem is not None:
        channels, patch = _shape(shapes, "patch_embed.conv.0.weight", 4)[1], 2 * patch
    if channels not in (1, 3):
        raise RequestError(f"reads images of {channels} channels; 3 (RGB) and 1 (grey) can be converted")
    if min(*widths, *hidden, channels) < 1 or len(stages) < 2:
        raise RequestError(f"is no VOLO: {len(stages)} stages, {size(widths)} wide")
    kernel = untold.outlook_kernel if untold else Architecture.outlook_kernel
    outlook_heads, rest = divmod(_shape(shapes, "network.0.0.attn.attn.weight", 2)[0], kernel**4)
    if rest or not outlook_heads:
        raise RequestError(
            f"has outlook attention of other windows than {kernel}x{kernel} tokens; `--architecture FILE.json` gives "
            "outlook_kernel"
        )
    assumed = None
    if heads is None:
        heads, assumed = _heads(widths, outlook_heads)
    if len(heads) != len(stages) or heads[0] != outlook_heads:
        raise RequestError(
            f"has {len(stages)} stages, the first of {outlook_heads} heads, which {heads} heads do not fit; "
            "`--architecture FILE.json` gives num_heads"
        )
    layers = tuple(stages.values())
    alike = [v for v in VARIANTS.values() if (v.architecture.layers, v.architecture.embed_dims) == (layers, widths)]
    grid = trained_grid(shapes) or (alike[0].architecture.coarse_grid if alike else (14, 14))
    architecture = Architecture(
        layers=layers,
        embed_dims=widths,
        num_heads=heads,
        mlp_ratios=tuple(h / w for h, w in zip(hidden, widths, strict=True)),
        stem_hidden_dim=stem[0] if stem else 0,
        image_size=(2 * patch * grid[0], 2 * patch * grid[1]),
        in_chans=channels,
        num_classes=alike[0].architecture.num_classes if alike else Architecture.num_classes,
        patch_size=patch,
        outlook_kernel=kernel,
        outlook_padding=untold.outlook_padding if untold else Architecture.outlook_padding,
        outlook_stride=untold.outlook_stride if untold else Architecture.outlook_stride,
        post_layers=len({name.split(".")[1] for name in shapes if name.startswith("post_network.")}),
    )
    architecture = fitted(architecture, shapes, image_size or architecture.image_size)
    require(architecture, shapes, alike[0].name if alike else "a VOLO of its stages")
    return architecture, assumed


def _stages(shapes: Shapes) -> dict[int, int]:
    """Blocks of each stage, by its place in `network`; RequestError where the tensors are of something else."""
    blocks: dict[int, set[int]] = {}
    for name in shapes:
        if match := re.match(r"network\.(\d{1,9})\.(\d{1,9})\.", name):
            blocks.setdefault(int(match[1]), set()).add(int(match[2]))
    stages = sorted(blocks)
    if stages != [0, *range(2, len(stages) + 1)]:
        raise RequestError(f"holds no VOLO: its tensors are {few(shapes)}; give a checkpoint of a VOLO")
    return {stage: len(blocks[stage]) for stage in stages}


def _shape(shapes: Shapes, name: str, rank: int) -> tuple[int, ...]:
    """The shape of a tensor that every VOLO has; RequestError where it is missing or of another rank."""
    if name not in shapes:
        raise RequestError(f"is no whole VOLO: missing {quoted(name)}")
    if len(shapes[name]) != rank or min(shapes[name]) < 1:
        raise RequestError(f"is no VOLO: {quoted(name)} is {size(shapes[name])}")
    return shapes[name]


def _heads(widths: tuple[int, ...], outlook_heads: int) -> tuple[tuple[int, ...], Assumed]:
    """Heads of each stage, where nobody says them: a published model's of these widths, or as wide as the outlookers'.

    The outlookers' own number is in their tensors' shapes.
    """
    for variant in VARIANTS.values():
        published = dict(zip(variant.architecture.embed_dims, variant.architecture.num_heads, strict=True))
        if published.get(widths[0]) == outlook_heads and set(widths[1:]) <= published.keys():
            heads = (outlook_heads, *(published[width] for width in widths[1:]))
            return heads, Assumed("architecture", _spelled(heads), variant.name)
    wide = widths[0] // outlook_heads
    heads = (outlook_heads, *(max(1, width // wide) for width in widths[1:]))
    return heads, Assumed("architecture", _spelled(heads), f"heads {wide} channels wide, as the outlookers'")


def _spelled(heads: tuple[int, ...]) -> str:
    return f"{','.join(map(str, heads))} heads"


def trained_grid(shapes: Shapes) -> tuple[int, int] | None:
    """(Rows, columns) of the position embedding, None where there is no such thing."""
    shape = shapes.get("pos_embed", ())
    return (shape[1], shape[2]) if len(shape) == 4 and min(shape) > 0 else None


def trained_size(architecture: Architecture, grid: tuple[int, int] | None) -> tuple[int, int]:
    """The image size of a position embedding of `grid`: the architecture's own where it has that grid."""
    if grid is None or grid == architecture.coarse_grid:
        return architecture.image_size
    return grid[0] * 2 * architecture.patch_size, grid[1] * 2 * architecture.patch_size


def fitted(architecture: Architecture, shapes: Shapes, image_size: tuple[int, int]) -> Architecture:
    """`architecture` with the channels, the classes, the auxiliary head and the biases that `shapes` have."""
    head = shapes.get("head.weight", ())
    first = shapes.get("patch_embed.conv.0.weight" if architecture.stem_hidden_dim else "patch_embed.proj.weight", ())
    return replace(
        architecture,
        image_size=image_size,
        in_chans=first[1] if len(first) == 4 and first[1] in (1, 3) else architecture.in_chans,
        num_classes=max(1, head[0]) if head else architecture.num_classes,
        aux_head=any(name.startswith("aux_head.") for name in shapes),
        qkv_bias=any(re.search(r"\.attn\.(v|q|kv|qkv)\.bias$", name) for name in shapes),
    )


def differences(wanted: Shapes, found: Shapes) -> str:
    """What keeps tensors of the shapes `found` from being `wanted`; "" where nothing does."""
    misshapen = [
        f"{quoted(name)} is {size(found[name])}, not {size(shape)}"
        for name, shape in wanted.items()
        if name in found and found[name] != shape and not (name == "pos_embed" and _resizable(found[name], shape))
    ]
    heads = [found.get(f"{head}.weight", ()) for head in ("head", "aux_head")]
    if all(len(shape) == 2 and min(shape) > 0 for shape in heads) and heads[0][0] != heads[1][0]:
        return (
            f"its head has {heads[0][0]} classes and its auxiliary head {heads[1][0]}; fine-tune both, or leave the "
            "tensors of aux_head out of the checkpoint"
        )
    problems = {
        "missing": [quoted(name) for name in wanted if name not in found],
        "unexpected": [quoted(name) for name in found if name not in wanted],
        "misshapen": misshapen,
    }
    return "; ".join(f"{what} {listed(names)}" for what, names in problems.items() if names)


def _resizable(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(found) == 4 and min(found) > 0 and (found[0], found[3]) == (wanted[0], wanted[3])
