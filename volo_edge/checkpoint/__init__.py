"""Reading weights: .pth.tar, .pth, .safetensors or the Hugging Face hub, into a float32 VOLO; never runs a file's code.

`hub` finds the file, `storage` reads what is in it, `entries` finds the VOLO in that, `shapes` tells which VOLO it is,
`build` makes it. What tensors do not say, `volo_edge.trained` finds out. Every way a file can be bad is a RequestError
of one line that starts with the file's name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from volo_edge import files, trained
from volo_edge.checkpoint import entries, shapes, storage
from volo_edge.checkpoint.build import build, require_plain
from volo_edge.checkpoint.entries import Entry
from volo_edge.checkpoint.hub import HUB, config, find
from volo_edge.checkpoint.text import few
from volo_edge.errors import RequestError
from volo_edge.model import VOLO
from volo_edge.preprocess import Preprocessing
from volo_edge.trained import DEMO_MODEL, UNTOLD, Assumed, Decisions, ModelRequest, Says
from volo_edge.variants import DEMO, VARIANTS, Architecture, Variant
from volo_edge.variants import find as find_variant

if TYPE_CHECKING:
    from volo_edge.artifact import Manifest

__all__ = ["HUB", "LoadedModel", "again", "load"]

T = TypeVar("T")

ARGUMENTS = ("args", "hyper_parameters", "hparams", "config", "cfg")  # where scripts keep what they were called with


@dataclass(frozen=True)
class LoadedModel:
    """A trained model, where it came from, and what was taken for all that its tensors do not say.

    Args:
        model: float32, on the CPU, in evaluation mode, without gradients; its `architecture` has the image size,
            the number of classes and the biases that the file has, which may not be the variant's.
        variant: the named or detected one; of another VOLO, one called `shapes.CUSTOM`.
        preprocessing: how its photographs are prepared.
        labels: names of its classes where a `config.json` has them, else ().
        weights_sha256: of the file's bytes, in hexadecimal.
        source: what was asked for: a path or a hub name.
        path: the file that was read.
        entry: where in the file the weights were, dictionaries joined by dots; "" at the top.
        prefix: what stood in front of their names.
        others: names of other VOLOs in the file, as `--entry` takes them.
        beside: names of tensors beside the weights, which were left out.
        inert: classes of objects in the file that were not loaded.
        trained_size: (height, width) in pixels that the position embedding was trained at.
        assumed: what the tensors do not say.
        contradicted: what a `config.json` or the training arguments say and the tensors do not, a sentence each.
    """

    model: VOLO
    variant: Variant
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    weights_sha256: str
    source: str
    path: Path
    entry: str
    prefix: str
    others: tuple[str, ...]
    beside: tuple[str, ...]
    inert: tuple[str, ...]
    trained_size: tuple[int, int]
    assumed: tuple[Assumed, ...]
    contradicted: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of the file or of the hub's repository, for those who look for it."""
        return self.source if self.source.startswith(HUB) else self.path.name

    @property
    def told(self) -> tuple[str, ...]:
        """What was left of the checkpoint, or chosen in it, in a sentence each; () where there was no choice."""
        taken = ".".join(filter(None, (self.entry, self.prefix.strip(".")))) or "the top"
        sentences = {
            f"took the weights in {taken}; --entry takes {few(self.others)} instead": self.others,
            f"left tensors beside the weights in {taken}: {few(self.beside)}": self.beside,
            f"of objects in the checkpoint, only plain values were read: {few(self.inert)}": self.inert,
        }
        return (*(sentence for sentence, why in sentences.items() if why), *self.contradicted)

    @property
    def published(self) -> bool:
        """Whether the weights are those that were published of the variant, by the name of their file or repository."""
        return self.variant.publishes(self.name)


def load(request: ModelRequest = DEMO_MODEL) -> LoadedModel:
    """The model that is asked for.

    Raises:
        RequestError: anything wrong with the file or the request.
    """
    trained.check(request)
    variant = find_variant(request.model) if request.model is not None else None
    source = str(_shipped(variant) if request.weights is None else request.weights)
    return _naming(source, lambda: _load(source, variant, request))


def again(weights: str | None, made: Manifest) -> LoadedModel:
    """The model that an artifact was made from, read as it was then; None for the demo's weights.

    Raises:
        RequestError: the file is another one, or anything else is wrong with it.
    """
    source = str(_shipped(find_variant(DEMO)) if weights is None else weights)
    return _naming(source, lambda: _again(source, made))


def _naming(source: str, work: Callable[[], T]) -> T:
    """What `work` returns; its errors begin with the name of the file and are one line."""
    try:
        return work()
    except OSError as error:
        message = f"{source}: cannot be read: {error.strerror or error}"
    except RequestError as error:
        message = f"{source}: {error}"
    raise RequestError(" ".join(message.split()))


def _load(source: str, named: Variant | None, request: ModelRequest) -> LoadedModel:
    path = find(source)
    hub = config(path)
    digest = files.sha256(path)
    found, inert = storage.read(path)
    candidates = entries.find(found)
    entry = entries.choose(candidates, request.entry)
    _require_classifier(hub)
    said = [trained.of_command(request), _of_config(hub), _of_arguments(found)]
    decisions = Decisions(said)
    pool = decisions.take("pool")
    if pool == "mean":  # the official `return_mean` leaves the auxiliary head out, though it was trained
        _drop_aux_head(entry)
    require_plain(entry.tensors, path.stat().st_size)
    sizes = {name: tuple(tensor.shape) for name, tensor in entry.tensors.items()}
    variant, architecture = _architecture(sizes, named, request, decisions)
    architecture = replace(architecture, pool="token" if pool in (None, "token") else "avg")
    decisions.sources = [*said, _of_variant(variant, architecture)]
    if pool is None:
        decisions.take("pool")
    preprocessing = trained.preprocessing(decisions, architecture)
    trained_size = shapes.trained_size(architecture, shapes.trained_grid(sizes))
    return LoadedModel(
        model=build(architecture, entry.tensors),
        variant=variant,
        preprocessing=preprocessing,
        labels=_labels(hub, architecture.num_classes),
        weights_sha256=digest,
        source=source,
        path=path,
        entry=entry.place,
        prefix=entry.prefix,
        others=tuple(other.name for other in candidates if other is not entry),
        beside=entry.beside,
        inert=inert,
        trained_size=trained_size,
        assumed=tuple(decisions.assumed),
        contradicted=(
            *_contradicted("config.json", hub, architecture, trained_size),
            *(said for name in ARGUMENTS for said in _of_training(name, found, architecture, trained_size)),
        ),
    )


def _again(source: str, made: Manifest) -> LoadedModel:
    path, model = find(source), made.model
    built = model.architecture
    if (1, built.in_chans, *built.image_size, built.num_classes) != (*made.preprocessing.shape, model.num_classes):
        raise RequestError("is not read: the artifact's manifest has another architecture than its file; convert again")
    digest = files.sha256(path)
    if digest != model.weights_sha256:
        raise RequestError(
            f"is not what the artifact was made from ({model.weights}, sha256 {model.weights_sha256[:16]}): pass that "
            "file"
        )
    found, inert = storage.read(path)
    entry = next((e for e in entries.find(found) if (e.place, e.prefix) == (model.entry, model.prefix)), None)
    if entry is None:
        raise RequestError(f"has no VOLO where the artifact's was, in {model.entry or 'its top'}")
    if not model.architecture.aux_head:
        _drop_aux_head(entry)
    require_plain(entry.tensors, path.stat().st_size)
    sizes = {name: tuple(tensor.shape) for name, tensor in entry.tensors.items()}
    shapes.require(model.architecture, sizes, model.name)
    return LoadedModel(
        model=build(model.architecture, entry.tensors),
        variant=VARIANTS.get(model.name) or _custom(model.architecture),
        preprocessing=made.preprocessing,
        labels=(),
        weights_sha256=digest,
        source=source,
        path=path,
        entry=model.entry,
        prefix=model.prefix,
        others=(),
        beside=entry.beside,
        inert=inert,
        trained_size=model.trained_size,
        assumed=model.assumed,
    )


def _shipped(named: Variant | None) -> Path:
    """The demo model's weights; RequestError for any other model, saying where its weights are."""
    if named is None or named.name == DEMO:
        from volo_edge.calibration import DEMO_WEIGHTS  # here: what is not asked for the demo need not have it

        return Path(DEMO_WEIGHTS)
    raise RequestError(
        f"the weights of {named.name} are not shipped: pass `--weights {named.checkpoint}` (a file of the releases of "
        f"github.com/sail-sg/volo) or `--weights {named.hub}`"
    )


def _architecture(
    sizes: shapes.Shapes, named: Variant | None, request: ModelRequest, decisions: Decisions
) -> tuple[Variant, Architecture]:
    """Which model tensors of `sizes` are of, and its architecture; `decisions` get what they do not tell."""
    if named is not None:
        return named, shapes.named(named, sizes, request.image_size)
    detected = shapes.detect(sizes, request.image_size)
    heads = decisions.take("architecture")
    if detected is not None and heads in (None, detected[1].num_heads) and request.architecture is None:
        return detected
    untold = UNTOLD.read(request.architecture) if request.architecture is not None else None
    architecture, assumed = shapes.describe(sizes, request.image_size, untold, heads)
    if assumed is not None:
        decisions.assumed.append(assumed)
    return _custom(architecture), architecture


def _custom(architecture: Architecture) -> Variant:
    """A VOLO that has no name of its own; its crop is that of the published ones of 224 pixels."""
    return Variant(shapes.CUSTOM, architecture, VARIANTS["volo_d1_224"].crop_pct, checkpoint="", top1=math.nan)


def _drop_aux_head(entry: Entry) -> None:
    for name in [name for name in entry.tensors if name.startswith("aux_head.")]:
        del entry.tensors[name]


def _of_variant(variant: Variant, architecture: Architecture) -> Says:
    who = shapes.PUBLISHED if variant.name == shapes.CUSTOM else variant.name
    return trained.of_variant(variant, who, architecture.in_chans)


def _of_config(hub: Mapping[str, Any]) -> Says:
    """What the hub's `config.json` says: timm's, or transformers' around one of timm's models."""
    return trained.of_timm("config.json", hub, hub.get("model_args"), hub.get("pretrained_cfg"))


def _of_arguments(found: Any) -> Says:
    """What the training arguments in the checkpoint say, whatever the script calls them."""
    for name in ARGUMENTS:
        if arguments := storage.fields(found.get(name)):
            kwargs = storage.fields(arguments.get("model_kwargs"))
            return trained.of_timm(f"{name} in the checkpoint", arguments, kwargs)
    return Says("", {})


def _of_training(name: str, found: Any, architecture: Architecture, trained_size: tuple[int, int]) -> list[str]:
    return _contradicted(f"{name} in the checkpoint", storage.fields(found.get(name)), architecture, trained_size)


def _contradicted(
    who: str, said: Mapping[str, Any], architecture: Architecture, trained_size: tuple[int, int]
) -> list[str]:
    """What `said` has of a model and its tensors have not: a sign that it is of another one."""
    labels = said.get("id2label")
    sizes = (said.get("img_size"), storage.fields(said.get("pretrained_cfg")).get("input_size"))
    facts = (
        ("num_classes", said.get("num_classes"), architecture.num_classes),
        ("names of classes", len(labels) if isinstance(labels, Mapping) else None, architecture.num_classes),
        ("image size", next(filter(None, map(_side, sizes)), None), trained_size[0]),
    )
    return [
        f"{who} has {what} {theirs}, and the weights have {ours}: the weights decide"
        for what, theirs, ours in facts
        if isinstance(theirs, int) and not isinstance(theirs, bool) and theirs != ours
    ]


def _side(size: Any) -> int | None:
    """The side of a square image, whose size is one number, or the last two of several; None of anything else."""
    sides = [*size[-2:]] if isinstance(size, (list, tuple)) else [size, size]
    return sides[0] if len(sides) == 2 and all(type(one) is int and one == sides[0] for one in sides) else None


def _require_classifier(hub: Mapping[str, Any]) -> None:
    """RequestError where the hub says that a model is a MiVOLO of faces, whose tensors are a VOLO's."""
    if hub.get("model_type") == "mivolo":
        raise RequestError("is a MiVOLO, which estimates age and gender; volo-edge converts VOLO classifiers")


def _labels(hub: Mapping[str, Any], num_classes: int) -> tuple[str, ...]:
    """Names of the classes in a `config.json`, where there are as many: timm's `label_names` or transformers'."""
    names = hub.get("label_names")
    if isinstance(by_index := hub.get("id2label"), Mapping):
        names = [by_index.get(str(index)) for index in range(num_classes)]
    good = isinstance(names, list) and len(names) == num_classes and all(map(_is_name, names))
    return tuple(names) if good and names else ()


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and bool(name) and not {"\n", "\r"} & set(name)  # a line each in labels.txt
