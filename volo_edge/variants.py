"""What the published VOLO models and the demo model are: frozen data, no torch.

Sources: VOLO (Yuan et al. 2021, arXiv:2106.13112), table 2 for the architectures and table 5 for the accuracies;
file names from the releases of github.com/sail-sg/volo; crops from timm 1.0.31 `timm/models/volo.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from volo_edge.errors import RequestError, did_you_mean

MAX_ATTENTION = 2**32  # bytes in one layer: no app on a phone may have as much memory

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


MAX_IMAGE_SIDE = 4096  # pixels; attention over the tokens of a larger image takes hundreds of gigabytes
_RANGES = (  # of an architecture's numbers; beyond them a model is not built in hours
    ("layers", 1, 1000),
    ("embed_dims", 1, 2**16),
    ("num_heads", 1, 2**16),
    ("mlp_ratios", 0, 1000),
    ("stem_hidden_dim", 0, 2**16),
    ("in_chans", 1, 3),
    ("num_classes", 1, 2**31 - 1),
    ("outlook_kernel", 1, 99),
    ("outlook_padding", 0, 99),
    ("outlook_stride", 1, 99),
    ("post_layers", 0, 1000),
)


@dataclass(frozen=True)
class Architecture:
    """Everything that fixes a VOLO's parameter shapes and its function, but for the weights.

    Args:
        layers: blocks in each stage; the first stage is of outlookers, the others of transformers.
        embed_dims: width of each stage. A 2x2 convolution halves the grid between the first two.
        num_heads: heads of each stage.
        mlp_ratios: hidden width of an MLP over its input width, in each stage; class blocks have the last.
        stem_hidden_dim: width of the three stem convolutions; 0 leaves the stem out.
        image_size: (height, width) in pixels; both must be multiples of `patch_size`.
        in_chans: channels of an image: 3, or 1 for grey.
        num_classes: outputs of the head.
        patch_size: pixels a side of one outlooker token: 4, 8 or 16.
        outlook_kernel, outlook_padding, outlook_stride: window of outlook attention (section 3.1); odd kernel.
        qkv_bias: whether the query, key and value projections have a bias.
        post_layers: class attention blocks behind the last stage.
        pool: what the head reads: "token", the class token; "avg", the mean of it and all tokens (timm's
            `global_pool`).
        aux_head: whether half the largest token score is added to the class token's (token labeling, section 4).
    """

    layers: tuple[int, ...]
    embed_dims: tuple[int, ...]
    num_heads: tuple[int, ...]
    mlp_ratios: tuple[float, ...]
    stem_hidden_dim: int = 64
    image_size: tuple[int, int] = (224, 224)
    in_chans: int = 3
    num_classes: int = 1000
    patch_size: int = 8
    outlook_kernel: int = 3
    outlook_padding: int = 1
    outlook_stride: int = 2
    qkv_bias: bool = False
    post_layers: int = 2
    pool: Literal["token", "avg"] = "token"
    aux_head: bool = True

    def __post_init__(self) -> None:
        self._require_sense()
        height, width = self.image_size
        patch, kernel, stride = self.patch_size, self.outlook_kernel, self.outlook_stride
        if patch not in (4, 8, 16):
            raise RequestError(f"patch size {patch}: VOLO has patches of 4, 8 or 16 pixels")
        if height % patch or width % patch or min(height, width) < 2 * patch:
            near = "x".join(str(max(2, round(side / patch)) * patch) for side in (height, width))
            raise RequestError(
                f"image size {height}x{width}: both sides must be multiples of {patch} pixels, "
                f"{2 * patch} at least; the nearest that fits is {near}"
            )
        check_attention(self.image_size, 2 * patch, max(self.num_heads, default=1))
        if kernel % 2 == 0 or stride < 1:
            raise RequestError(f"outlook attention needs an odd kernel and a positive stride, not {kernel}/{stride}")
        for width, heads in zip(self.embed_dims, self.num_heads, strict=True):
            if width % heads:
                raise RequestError(
                    f"a stage {width} channels wide does not divide into {heads} heads: --architecture FILE.json gives "
                    "num_heads"
                )
        for side in self.grid:  # one attention row per window: the windows and the pooled grid must be as many
            if (side + 2 * self.outlook_padding - kernel) // stride + 1 != -(-side // stride):
                raise RequestError(
                    f"outlook attention with kernel {kernel}, padding {self.outlook_padding}, stride {stride} "
                    f"does not cover a side of {side} tokens with {-(-side // stride)} windows"
                )

    def _require_sense(self) -> None:
        """RequestError for what is no number of things, or of more than anybody has: files and commands may say it."""
        stages = self.layers, self.embed_dims, self.num_heads, self.mlp_ratios
        if len({len(of_each) for of_each in stages}) > 1 or not self.layers:
            raise RequestError("layers, embed_dims, num_heads and mlp_ratios must each have a number for every stage")
        if max(self.image_size) > MAX_IMAGE_SIDE:
            height, width = self.image_size
            raise RequestError(f"image size {height}x{width}: a side has {MAX_IMAGE_SIDE} pixels at most")
        for name, lowest, highest in _RANGES:
            value = getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                if not lowest <= one <= highest:
                    raise RequestError(f"{name} is {one}, and must be {lowest} to {highest}")

    @property
    def grid(self) -> tuple[int, int]:
        """Tokens (rows, columns) of the outlooker stage."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @property
    def coarse_grid(self) -> tuple[int, int]:
        """Tokens (rows, columns) of the transformer stages; an odd last row or column is dropped."""
        return self.grid[0] // 2, self.grid[1] // 2


def check_attention(image_size: tuple[int, int], pixels: int = 32, heads: int = 1) -> None:
    """RequestError where one attention layer needs more than `MAX_ATTENTION` for an image.

    Every head holds a number for each pair of tokens, in single precision: 16 times as many for a side twice as long.

    Args:
        image_size: (height, width) in pixels.
        pixels: a side of a token of the transformer stages; 32 is the most that a VOLO has.
        heads: of the layer.
    """
    height, width = image_size
    tokens = (height // pixels) * (width // pixels)
    needed = 4 * heads * tokens**2
    if needed > MAX_ATTENTION:
        side = math.isqrt(math.isqrt(MAX_ATTENTION // (4 * heads))) * pixels
        raise RequestError(
            f"image size {height}x{width}: one attention layer over its {tokens} tokens takes {needed / 1e9:,.0f} GB, "
            f"more than a phone has; take {side}x{side} at most"
        )


@dataclass(frozen=True)
class Variant:
    """A model that has a name: its architecture, how its photographs are prepared, what was published of it.

    Args:
        name: what `--model` takes; timm's name where timm has the model.
        architecture: at the image size it was trained for.
        crop_pct: side of the centre crop over the side the photograph is resized to.
        checkpoint: the official release's file name, "" where there is none.
        top1: published ImageNet top-1 in percent at this size; the demo model's is CIFAR-10's, measured. nan of a
            model that has no name.
        labels: names of the classes; () for ImageNet-1k's.
    """

    name: str
    architecture: Architecture
    crop_pct: float
    checkpoint: str
    top1: float
    labels: tuple[str, ...] = ()

    @property
    def hub(self) -> str:
        """The Hugging Face name that `--weights` takes, "" where there is none."""
        return f"hf-hub:timm/{self.name}.sail_in1k" if self.checkpoint else ""

    def publishes(self, weights: str) -> bool:
        """Whether `weights`, the name of a file or of a hub's repository, are those whose accuracy is `top1`."""
        own = {self.checkpoint, self.hub} if self.checkpoint else {f"{self.name}.safetensors"}  # which ships with us
        return weights.partition("@")[0] in own


def _published(
    model: str,
    layers: tuple[int, ...],
    width: int,
    heads: tuple[int, int],
    releases: tuple[tuple[int, float, float, str], ...],
    mlp_ratio: float = 3.0,
    stem_hidden_dim: int = 64,
) -> tuple[Variant, ...]:
    """One variant a release (pixels, crop_pct, top-1, the file name's end) of one row of the paper's table 2."""
    return tuple(
        Variant(
            name=f"volo_{model}_{pixels}",
            architecture=Architecture(
                layers=layers,
                embed_dims=(width // 2, width, width, width),
                num_heads=(heads[0], heads[1], heads[1], heads[1]),
                mlp_ratios=(mlp_ratio,) * len(layers),
                stem_hidden_dim=stem_hidden_dim,
                image_size=(pixels, pixels),
            ),
            crop_pct=crop_pct,
            checkpoint=f"{model}_{pixels}_{suffix}.pth.tar",
            top1=top1,
        )
        for pixels, crop_pct, top1, suffix in releases
    )


DEMO = "volo_cifar10"

VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        *_published("d1", (4, 4, 8, 2), 384, (6, 12), ((224, 0.96, 84.2, "84.2"), (384, 1.0, 85.2, "85.2"))),
        *_published("d2", (6, 4, 10, 4), 512, (8, 16), ((224, 0.96, 85.2, "85.2"), (384, 1.0, 86.0, "86.0"))),
        *_published("d3", (8, 8, 16, 4), 512, (8, 16), ((224, 0.96, 85.4, "85.4"), (448, 1.0, 86.3, "86.3"))),
        *_published("d4", (8, 8, 16, 4), 768, (12, 16), ((224, 0.96, 85.7, "85.7"), (448, 1.15, 86.8, "86.79"))),
        *_published(
            "d5",
            (12, 12, 20, 4),
            768,
            (12, 16),
            ((224, 0.96, 86.1, "86.10"), (448, 1.15, 87.0, "87.0"), (512, 1.15, 87.1, "87.07")),
            mlp_ratio=4.0,
            stem_hidden_dim=128,
        ),
        Variant(
            name=DEMO,
            architecture=Architecture(
                layers=(2, 1, 3, 1),
                embed_dims=(96, 192, 192, 192),
                num_heads=(3, 6, 6, 6),
                mlp_ratios=(3.0,) * 4,
                stem_hidden_dim=32,
                image_size=(64, 64),
                num_classes=10,
            ),
            crop_pct=1.0,
            checkpoint="",
            top1=78.8,
            labels=CIFAR10_CLASSES,
        ),
    )
}


def find(name: str) -> Variant:
    """The variant called `name`; RequestError with the closest name where there is none."""
    try:
        return VARIANTS[name]
    except KeyError:
        raise RequestError(f"no model is called '{name}': {did_you_mean(name, list(VARIANTS))}") from None
