"""What differs between two artifacts: `inspect ARTIFACT --against OTHER`.

Both manifests, field by field, and the weights that the saved files hold, layer by layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volo_edge import artifact
from volo_edge.artifact import Artifact
from volo_edge.converters.program import Layer, StoredLayer
from volo_edge.converters.targets import TARGETS

# The manifest's fields, in the order in which a person asks; "labels" are those of the artifact.
SECTIONS = {
    "model": ("model", "preprocessing", "labels"),
    "scheme": ("target", "backend", "minimum_ios", "quantization"),
    "tools": ("tools", "format_version"),
    "files": ("files",),
    "graph": ("graph",),
    "parity": ("parity", "half_precision", "selftest", "photographs"),
}


@dataclass(frozen=True)
class Change:
    """A field that is not the same in both.

    Args:
        field: its place in the manifest: "model.image_size.0".
        here, there: its value in the artifact and in the other; None also where it has none.
    """

    field: str
    here: Any
    there: Any


@dataclass(frozen=True)
class LayerChange:
    """A layer that the two files do not hold alike.

    Args:
        number: in the order the layers run, from 1.
        kind: "linear", "convolution", ...
        shape: of its weights.
        here, there: how each file stores the weights: "fp16", "qcint8", "palette4", ...
        weights: largest difference of two weights, of what integers stand for; None where one is not finite.
        largest: magnitude of the artifact's own weights, to hold that against.
        biases: largest difference of two biases, a missing one being zero; None where one is not finite.
    """

    number: int
    kind: str
    shape: tuple[int, ...]
    here: str
    there: str
    weights: float | None
    largest: float
    biases: float | None


@dataclass(frozen=True)
class Difference:
    """Two artifacts side by side.

    Args:
        same: whether all files and the manifests are the same.
        sections: fields that differ, by the keys of `SECTIONS`.
        layers: the layers that differ; None where they were not compared.
        compared: how many layers were.
        why_not: why layers were not compared; "" where they were.
    """

    same: bool
    sections: dict[str, tuple[Change, ...]]
    layers: tuple[LayerChange, ...] | None
    compared: int
    why_not: str


def compare(here: Artifact, there: Artifact) -> Difference:
    """What differs between the two; RequestError where a model's file cannot be read."""
    ours, theirs = _fields(here), _fields(there)
    places = [*ours, *(place for place in theirs if place not in ours)]
    changes = [
        Change(place, ours.get(place), theirs.get(place)) for place in places if ours.get(place) != theirs.get(place)
    ]
    sections = {
        name: tuple(change for change in changes if change.field.partition(".")[0] in fields)
        for name, fields in SECTIONS.items()
    }
    layers, compared, why_not = _layers(here, there)
    return Difference(not changes, sections, layers, compared, why_not)


def _fields(one: Artifact) -> dict[str, Any]:
    """Of an artifact's manifest and labels, each value by its place."""
    return dict(_flat("", artifact.as_json(one.manifest) | {"labels": list(one.labels)}))


def _flat(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _flat(f"{place}.{key}".removeprefix("."), part)
    else:
        yield place, value


def _layers(here: Artifact, there: Artifact) -> tuple[tuple[LayerChange, ...] | None, int, str]:
    """The layers that differ, how many were compared, and why none were."""
    backends = here.manifest.backend, there.manifest.backend
    if backends[0] != backends[1]:
        return None, 0, "{} and {} lay the model's layers out differently".format(*backends)
    ours, theirs = _read(here), _read(there)
    shapes = [[stored.weight.shape for _, stored in layers] for layers in (ours, theirs)]
    if shapes[0] != shapes[1]:
        number = next(
            (n for n, (a, b) in enumerate(zip(*shapes, strict=False), 1) if a != b), min(map(len, shapes)) + 1
        )
        return None, 0, f"the files' layers are of other shapes ({len(ours)} and {len(theirs)}), from layer {number} on"
    found = (_layer(number, *pair) for number, pair in enumerate(zip(ours, theirs, strict=True), 1))
    return tuple(layer for layer in found if layer is not None), len(ours), ""


def _read(one: Artifact) -> list[tuple[Layer, StoredLayer]]:
    """The layers of an artifact's file: what they are, and what they hold."""
    program = TARGETS[one.manifest.target].module("program")
    return list(zip(program.read_program(one.model_path).layers, program.read_weights(one.model_path), strict=True))


def _layer(number: int, ours: tuple[Layer, StoredLayer], theirs: tuple[Layer, StoredLayer]) -> LayerChange | None:
    """How a layer differs; None where it does not."""
    (layer, stored), (other_layer, other) = ours, theirs
    here, there = _storage(layer), _storage(other_layer)
    weights, biases = _largest(stored.weight, other.weight), _largest(stored.bias, other.bias)
    if here == there and weights == biases == 0:
        return None
    own = float(np.abs(stored.weight).max())
    return LayerChange(number, layer.kind, stored.weight.shape, here, there, weights, own, biases)


def _storage(layer: Layer) -> str:
    """How a file stores a layer's weights."""
    return f"{layer.weight_dtype} in groups of {layer.group_size}" if layer.group_size else layer.weight_dtype


def _largest(ours: NDArray[np.float32] | None, theirs: NDArray[np.float32] | None) -> float | None:
    """The largest difference of two numbers at the same place; None where one is not finite."""
    if ours is None and theirs is None:
        return 0.0
    difference = (0 if ours is None else ours) - (0 if theirs is None else theirs)
    largest = float(np.abs(difference).max())
    return largest if math.isfinite(largest) else None
