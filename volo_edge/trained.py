"""How a model was trained, where its tensors do not say: what its photographs were like and what its head reads.

Each setting comes from the first who says it: the command, the hub's `config.json`, the training arguments in the
checkpoint, the named model. What was taken and from whom is kept as `Assumed`, so that it is told and can be
contradicted. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from volo_edge.errors import RequestError, did_you_mean
from volo_edge.formats import Format
from volo_edge.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from volo_edge.variants import Architecture, Variant

INTERPOLATIONS = ("bicubic", "bilinear")
CROP_MODES = ("center", "squash")
POOLS = ("token", "avg", "mean")
_LARGEST = 2**14  # pixels a side that a photograph is resized to


@dataclass(frozen=True)
class Assumed:
    """Something about a model that its tensors do not say, what was taken for it, and who said so.

    Args:
        what: the option of the command line that says otherwise, without its dashes: "mean".
        value: as that option takes it: "0.485,0.456,0.406".
        source: who said it: "--mean", "config.json", "args in the checkpoint", a model's name, ...
    """

    what: str
    value: str
    source: str


@dataclass(frozen=True)
class ModelRequest:
    """Which trained model, and how it was trained; None where that is to be found out.

    Args:
        weights: a checkpoint's path, or `hf-hub:owner/name[@revision]`; None for the demo model's, which ship with us.
        model: a variant's name; None to find the model from the tensors' shapes.
        image_size: (height, width) in pixels; None for the named variant's, or where none is named the size that the
            position embedding was trained at.
        entry: where in the checkpoint the weights are, "model_ema.module" for one.
        architecture: a JSON file of what the tensors' shapes do not tell, see `Untold`.
        pool: what the head reads, one of `POOLS`: the class token; the mean of all tokens (timm's `global_pool="avg"`);
            that mean and no auxiliary head (`return_mean` of the official code).
        mean, std: of pixels in 0..1, one number or one a channel.
        crop_pct: side of the centre crop over the side the photograph is resized to.
        resize: (height, width) in pixels that the photograph is resized to; in place of `crop_pct`.
        interpolation: one of `INTERPOLATIONS`.
        crop_mode: one of `CROP_MODES`.
    """

    weights: str | None = None
    model: str | None = None
    image_size: tuple[int, int] | None = None
    entry: str | None = None
    architecture: Path | None = None
    pool: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    crop_pct: float | None = None
    resize: tuple[int, int] | None = None
    interpolation: str | None = None
    crop_mode: str | None = None

    @property
    def inputs(self) -> tuple[Path | str | None, ...]:
        """The files that it names."""
        return self.weights, self.architecture


DEMO_MODEL = ModelRequest()


@dataclass(frozen=True, kw_only=True)
class Untold:
    """`--architecture FILE.json`: what of a VOLO the shapes of its tensors do not tell.

    Args:
        format_version: 1.
        num_heads: heads of each stage, the outlookers' first; the last stage's are the class blocks' too.
        outlook_kernel, outlook_padding, outlook_stride: the window of outlook attention, in tokens.
    """

    format_version: Literal[1] = 1
    num_heads: tuple[int, ...]
    outlook_kernel: int = 3
    outlook_padding: int = 1
    outlook_stride: int = 2


UNTOLD = Format(Untold, 1, "architecture", "write it as docs/architecture.schema.json has it", by_people=True)


@dataclass(frozen=True)
class Says:
    """Someone who says how a model was trained: who, and the settings by their options' names, as found."""

    who: str
    settings: Mapping[str, Any]


@dataclass
class Decisions:
    """Takes each setting from the first of `sources` that says it, and keeps what was taken."""

    sources: Sequence[Says]
    assumed: list[Assumed] = field(default_factory=list)

    def take(self, what: str) -> Any:
        """The value of the setting `what`, None where nobody says it; RequestError where it is none that is known."""
        for source in self.sources:
            if (value := source.settings.get(what)) is not None:
                try:
                    taken = SETTINGS[what](value)
                except RequestError as error:
                    remedy = "" if source.who == COMMAND else f"; --{what} says otherwise"
                    who = f"--{what}" if source.who == COMMAND else f"{source.who} says {what}"
                    raise RequestError(f"{who} {value!r}: {error}{remedy}") from None
                self.assumed.append(Assumed(what, spelled(taken), f"--{what}" if source.who == COMMAND else source.who))
                return taken
        return None


COMMAND = "the command"


def spelled(value: Any) -> str:
    """A setting as its option takes it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _numbers(value: Any) -> tuple[float, ...]:
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    good = all(isinstance(one, (int, float)) and not isinstance(one, bool) and abs(one) < 1e9 for one in values)
    if not (good and len(values) in (1, 3)):
        raise RequestError("give one number, or one for each of red, green and blue")
    return tuple(float(one) for one in values)


def _means(value: Any) -> tuple[float, ...]:
    values = _numbers(value)
    if not (min(values) >= 0 and max(values) <= 1):
        raise RequestError("pixels are in 0..1 here; divide what is of 0..255 by 255")
    return values


def _deviations(value: Any) -> tuple[float, ...]:
    values = _numbers(value)
    if not (min(values) >= 1e-3 and max(values) <= 1):
        raise RequestError("pixels are in 0..1 here, and deviations in 0.001..1; divide what is of 0..255 by 255")
    return values


def _crop(value: Any) -> float:
    if not (isinstance(value, (int, float)) and not isinstance(value, bool) and 0.1 <= value <= 4):
        raise RequestError("give the crop's side over the photograph's, in 0.1..4; 0.875 for 87.5 %")
    return float(value)


def _size(value: Any) -> tuple[int, int]:
    if not 1 <= min(value) <= max(value) <= _LARGEST:
        raise RequestError(f"give pixels, 1 at least and {_LARGEST} at most, which is 0.8 GB a photograph")
    return int(value[0]), int(value[1])


def _one_of(*known: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in known:
            raise RequestError(did_you_mean(str(value), list(known)))
        return str(value)

    return check


def _heads(value: Any) -> tuple[int, ...]:
    good = isinstance(value, (tuple, list)) and value and all(type(one) is int and one > 0 for one in value)
    if not good:
        raise RequestError("give a number for each stage")
    return tuple(value)


SETTINGS: dict[str, Callable[[Any], Any]] = {
    "mean": _means,
    "std": _deviations,
    "crop-pct": _crop,
    "resize": _size,
    "interpolation": _one_of(*INTERPOLATIONS),
    "crop-mode": _one_of(*CROP_MODES),
    "pool": _one_of(*POOLS),
    "architecture": _heads,
}

# timm's names for the settings: of its training arguments, of `pretrained_cfg` and of a model's own arguments.
_TIMM = {
    "mean": "mean",
    "std": "std",
    "crop_pct": "crop-pct",
    "interpolation": "interpolation",
    "crop_mode": "crop-mode",
    "gp": "pool",
    "global_pool": "pool",
    "num_heads": "architecture",
}


def check(request: ModelRequest) -> None:
    """RequestError for a setting of the command that is none."""
    command = Decisions([of_command(request)])
    for what in SETTINGS:
        command.take(what)
    if request.crop_pct is not None and request.resize is not None:
        raise RequestError("--crop-pct and --resize say the same thing: give one of them")
    if request.architecture is not None:
        UNTOLD.read(request.architecture)


def of_command(request: ModelRequest) -> Says:
    """What the command says."""
    said = {name: getattr(request, name.replace("-", "_")) for name in SETTINGS if name != "architecture"}
    if request.architecture is not None:
        said["architecture"] = UNTOLD.read(request.architecture).num_heads
    return Says(COMMAND, said)


def of_timm(who: str, *found: object) -> Says:
    """What dictionaries say that have timm's names; the first goes first, and what it leaves empty says nothing."""
    said: dict[str, Any] = {}
    for one in found:
        if isinstance(one, Mapping):
            for theirs, ours in _TIMM.items():
                value = one.get(theirs)
                if value not in (None, "", [], ()):
                    said.setdefault(ours, value)
    return Says(who, said)


def of_variant(variant: Variant, who: str, in_chans: int) -> Says:
    """What the published models of a kind were trained with; of grey images none was."""
    colours = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD} if in_chans == 3 else {}
    shape = {"interpolation": "bicubic", "crop-mode": "center", "crop-pct": variant.crop_pct, "pool": "token"}
    return Says(who, colours | shape)


def preprocessing(decisions: Decisions, architecture: Architecture) -> Preprocessing:
    """How photographs are prepared for a model of `architecture`."""
    channels = architecture.in_chans
    per_channel = {}
    for what in ("mean", "std"):
        values = decisions.take(what)
        if values is None:
            raise RequestError(
                f"reads images of {channels} channel, and neither it nor you say their mean and deviation: give --mean "
                "and --std, a number each, as in training"
            )
        if len(values) not in (1, channels):
            source = decisions.assumed[-1].source
            raise RequestError(f"reads {channels} channel(s), and {source} has {len(values)} numbers for {what}")
        per_channel[what] = values if len(values) == channels else values * channels
    others = {
        "interpolation": decisions.take("interpolation"),
        "crop_mode": decisions.take("crop-mode"),
        "color": {1: "L", 3: "RGB"}[channels],
        **per_channel,
    }
    if (size := decisions.take("resize")) is not None:
        return Preprocessing(resize_to=size, crop=architecture.image_size, **others)
    return Preprocessing.from_crop(architecture.image_size, decisions.take("crop-pct"), **others)


if __name__ == "__main__":
    import json

    print(json.dumps(UNTOLD.schema(), indent=2))
